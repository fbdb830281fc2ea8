"""Item ids to catalogue positions, and the transforms of all features: everything fitted, on training data only.

Positions count from 1: the trained items first, sorted by id, then the cold ones, which have metadata but no training
event. Position 0 is unknown. A trained item's position is also its row in the embedding table.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import ConfigDict, TypeAdapter, create_model

from ..files import input_error_if_damaged, write_json
from ..text_encoders import EncodeTexts, TextEncoding
from .factorize import Int32, lookup_rows
from .feature_kinds import Transform
from .query_ids import FEW_IDS, require_known_kind


@dataclass(frozen=True)
class Encoder:
    """Item ids and fitted transforms.

    Attributes:
        item_ids: ``item_ids[i]`` has position ``i + 1``; trained items come first.
        num_trained: The number of trained items.
        item_transforms, user_transforms: The fitted features.
        columns: The log's own names of user_id, item_id and time; where they are set, also time_format and decimal,
            by which text is read.
        user_id_type: The Polars type of the log's user ids.
    """

    item_ids: pl.Series
    num_trained: int
    item_transforms: tuple[Transform, ...]
    user_transforms: tuple[Transform, ...]
    columns: dict[str, str | None]
    user_id_type: str

    @property
    def num_items(self) -> int:
        """Catalogue size, trained and cold."""
        return len(self.item_ids)

    @property
    def id_types(self) -> dict[str, pl.DataType]:
        """The types of user_id and item_id, by which a file of text is read: no night makes other ids of them."""
        user_type = pl.String() if self.user_id_type == "String" else getattr(pl, self.user_id_type)()
        return {"user_id": user_type, "item_id": self.item_ids.dtype}

    def positions(self, ids: pl.Series) -> Int32:
        """Look up catalogue positions.

        Args:
            ids: [n] item ids.

        Returns:
            [n] int32 positions, 0 where the id is unknown or missing.

        Raises:
            InputError: The ids can never match those of the catalogue, such as strings among integers.
        """
        known = self.item_ids.dtype
        require_known_kind(ids.dtype, known, "item")
        same_type = ids if ids.dtype == known else ids.cast(known, strict=False)
        if len(ids) <= FEW_IDS:
            first, later = self._position_of, self._position_of_added
            positions = [first.get(item_id) or later.get(item_id, 0) for item_id in same_type.to_list()]
            return np.array(positions, np.int32)
        return lookup_rows(same_type, self.item_ids, offset=1)

    def extended(self, item_ids: pl.Series) -> "Encoder":
        """The same with more cold items after the others. What was prepared for requests is shared, not made again."""
        if not len(item_ids):
            return self
        longer = replace(self, item_ids=pl.concat([self.item_ids, item_ids], rechunk=True))
        first = range(self.num_items + 1, longer.num_items + 1)
        longer.__dict__["_position_of"] = self._position_of
        longer.__dict__["_position_of_added"] = self._position_of_added | dict(
            zip(item_ids.to_list(), first, strict=True)
        )
        return longer

    @cached_property
    def _position_of_added(self) -> dict[Any, int]:
        return {}  # of a catalogue that was not extended

    @cached_property
    def _position_of(self) -> dict[Any, int]:
        """Positions by id, about 150 bytes an item: a join with the whole catalogue is too slow for a request."""
        return {item_id: position for position, item_id in enumerate(self.item_ids.to_list(), start=1)}

    def ids(self, positions: npt.NDArray[np.integer]) -> pl.Series:
        """The ids at ``positions``, each of which is at least 1."""
        return self.item_ids[positions.astype(np.int64) - 1]

    def write(self, path: Path) -> None:
        """Write everything but the ids as JSON; the ids are stored as a table column."""
        write_json(path, self._fields())

    @staticmethod
    def read(path: Path, item_ids: pl.Series) -> "Encoder":
        """Read what ``write`` wrote. Raises InputError if it is damaged."""
        with input_error_if_damaged(path):
            return Encoder.parse(path.read_bytes(), item_ids)

    @staticmethod
    def parse(content: bytes, item_ids: pl.Series) -> "Encoder":
        """The encoder of a file's content. Raises ValueError unless ``write`` could have written it."""
        fields = dict(_stored_fields().validate_json(content))
        encoder = Encoder(item_ids, **fields)
        unknown = set(encoder.columns) ^ {"user_id", "item_id", "time"}
        if not 0 < encoder.num_trained <= encoder.num_items or not unknown <= {"time_format", "decimal"}:
            raise ValueError(f"{encoder.num_trained} trained items of {encoder.num_items}, columns {encoder.columns}")
        for transform in (*encoder.item_transforms, *encoder.user_transforms):
            _require_fitted(transform)
        return encoder

    def with_functions(self, functions: Mapping[str, EncodeTexts]) -> "Encoder":
        """The same whose pretrained encoders can run, as far as they are among ``functions``."""
        items, users = (
            tuple(_bound(transform, functions) for transform in transforms)
            for transforms in (self.item_transforms, self.user_transforms)
        )
        return replace(self, item_transforms=items, user_transforms=users)

    def require_same_encoders(self) -> None:
        """Raise InputError if a pretrained encoder that can run is another one than the transforms were fitted with."""
        distinct = {(encoding.encoder, encoding.probes): encoding for encoding in self._encodings()}
        for encoding in distinct.values():
            if encoding.function is not None:
                encoding.require_same()

    def require_encoders(self) -> None:
        """Raise InputError unless every pretrained encoder can run."""
        for encoding in self._encodings():
            encoding.require_function()

    def _encodings(self) -> list[TextEncoding]:
        transforms = (*self.item_transforms, *self.user_transforms)
        return [transform.encoding for transform in transforms if transform.encoding is not None]

    def content_hash(self) -> str:
        """Hex sha256 of ids and transforms: two encoders with the same hash encode alike."""
        content = [self._fields(), str(self.item_ids.dtype), self.item_ids.to_list()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _fields(self) -> dict[str, Any]:
        fields = {name: value for name, value in asdict(self).items() if name != "item_ids"}
        for role in (
            "item_transforms",
            "user_transforms",
        ):  # without what is not fitted, as earlier releases wrote them
            fields[role] = [_stored(transform) for transform in fields[role]]
        return fields


def _stored(transform: dict[str, Any]) -> dict[str, Any]:
    """The fields of a transform that are set; of its encoder, not the function, which no file can hold."""
    fields = {name: value for name, value in transform.items() if value is not None}
    if "encoding" in fields:
        fields["encoding"] = {name: value for name, value in fields["encoding"].items() if name != "function"}
    return fields


@cache
def _stored_fields() -> TypeAdapter[Any]:
    """Checks the JSON of an encoder: exactly these fields, of these types."""
    fields: Any = {name: (hint, ...) for name, hint in get_type_hints(Encoder).items() if name != "item_ids"}
    return TypeAdapter(create_model("StoredEncoder", __config__=ConfigDict(strict=True, extra="forbid"), **fields))


def _bound(transform: Transform, functions: Mapping[str, EncodeTexts]) -> Transform:
    encoding = transform.encoding
    if encoding is None or encoding.encoder not in functions:
        return transform
    return replace(transform, encoding=encoding.running(functions[encoding.encoder]))


def _require_fitted(transform: Transform) -> None:
    """Raise ValueError unless fitting could have returned this."""
    name, size, distinct = transform.name, transform.size, len(set(transform.vocabulary))
    fitted = 2 if transform.kind == "numeric" else distinct + 1 if distinct else size
    low, high = (0.0 if bound is None else bound for bound in (transform.low, transform.high))
    if size != fitted or size < 1 or len(transform.vocabulary) != distinct:
        raise ValueError(f"feature {name!r} of kind {transform.kind!r} has size {size}, or repeats a value")
    encoding = transform.encoding
    if encoding is not None and (transform.kind != "text" or {len(probe) for probe in encoding.probes} != {size}):
        raise ValueError(f"feature {name!r} has size {size}, which does not fit its encoder")
    if not np.isfinite([transform.mean, transform.scale, low, high]).all() or transform.scale <= 0 or low > high:
        raise ValueError(f"feature {name!r} has mean {transform.mean}, scale {transform.scale}, range {low} to {high}")
