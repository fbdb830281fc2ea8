"""Ids to catalogue positions, and metadata columns to numbers: everything fitted, on training data only.

Positions count from 1: the trained items first, sorted by id, then the cold ones, which have metadata but no training
event. Position 0 is unknown. A trained item's position is also its row in the embedding table.
"""

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..config import FeatureConfig, FeatureKind
from ..errors import InputError
from ..files import read_json, write_json
from .factorize import Int32, lookup_rows
from .jagged import Jagged, flatten_lists
from .query_ids import require_known_kind

MIN_BUCKETS, MAX_BUCKETS = 1 << 10, 1 << 17
NGRAM = 4
FEW_IDS = 1_000  # of a request, rather than of a log
EXPECTED: dict[FeatureKind, str] = {
    "categorical": "one value a row",
    "multi_categorical": "lists of values",
    "numeric": "numbers",
    "text": "strings",
    "vector": "lists of numbers",
}


@dataclass(frozen=True)
class Transform:
    """One fitted metadata column.

    vocabulary: values of (multi_)categorical columns; value ``i`` is encoded as ``i + 1``, unknown and missing as 0.
    mean, scale: of a numeric column. size: table rows of (multi_)categorical and text columns, numbers per row of
    numeric (value, missing flag) and vector columns.
    """

    name: str
    kind: FeatureKind
    size: int
    vocabulary: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @property
    def is_bag(self) -> bool:
        """Whether the column is looked up in a table, rather than multiplied by a matrix."""
        return self.kind in ("categorical", "multi_categorical", "text")

    def encode(self, column: pl.Series) -> pl.Series:
        """Bag kinds: List(Int32) of table rows. Numeric, vector: Array(Float32, size)."""
        if self.kind == "text":
            return _hashed(_words(column), self.size).to_series(self.name)
        if self.kind == "multi_categorical":
            flat, lengths = flatten_lists(_lists(column))
            rows = Jagged.from_lengths(self._lookup(flat), lengths)
            return rows.keep(rows.values > 0).to_series(self.name)
        if self.kind == "categorical":
            return Jagged.from_lengths(self._lookup(column), np.ones(len(column), np.int64)).to_series(self.name)
        return pl.Series(self.name, self._dense(column), dtype=pl.Array(pl.Float32, self.size))

    def _lookup(self, values: pl.Series) -> Int32:
        return lookup_rows(_categories(values), pl.Series(self.vocabulary, dtype=pl.String), offset=1)

    def _dense(self, column: pl.Series) -> npt.NDArray[np.float32]:
        dense: npt.NDArray[np.float32]
        if self.kind == "vector":
            filled = column.cast(pl.List(pl.Float32)).fill_null([0.0] * self.size)
            others = filled.filter(filled.list.len() != self.size)
            if len(others):
                raise InputError(
                    f"feature {self.name!r} has a vector of {len(others[0])} numbers beside those of {self.size}; "
                    "expected one length, and null where there is no vector"
                )
            dense = filled.explode().to_numpy().astype(np.float32).reshape(-1, self.size)
            return np.where(np.isfinite(dense), dense, np.float32(0))
        values = column.cast(pl.Float64).to_numpy()
        known = np.isfinite(values)
        scaled = np.where(known, (np.where(known, values, 0.0) - self.mean) / self.scale, 0.0)
        return np.stack([scaled, ~known], axis=1).astype(np.float32)


def fit_feature(config: FeatureConfig, column: pl.Series) -> Transform:
    """Fit one transform on the metadata of the training items (or users). Raises InputError on a wrong column type."""
    name, kind = config.name, config.kind
    if not _fits(kind, column.dtype):
        raise InputError(
            f"feature {name!r} is of kind {kind!r} but its column is {column.dtype}; expected {EXPECTED[kind]}: "
            "choose another kind, or cast the column"
        )
    if kind == "numeric":
        numbers = column.cast(pl.Float64).to_numpy()
        numbers = numbers[np.isfinite(numbers)]
        mean, scale = (float(numbers.mean()), float(numbers.std())) if len(numbers) else (0.0, 1.0)
        constant = scale <= 1e-9 * abs(mean)  # what rounding leaves of a constant column is no scale
        return Transform(name, kind, 2, mean=mean, scale=1.0 if constant else scale)
    if kind == "vector":
        lengths = column.drop_nulls().cast(pl.List(pl.Float32)).list.len()
        return Transform(name, kind, int(lengths.max() or 1))  # type: ignore[arg-type]  # a length is an int
    if kind == "text":
        wanted = 2 * len({token for word in flatten_lists(_words(column))[0].unique() for token in _tokens(word)})
        return Transform(name, kind, int(np.clip(1 << (wanted - 1).bit_length(), MIN_BUCKETS, MAX_BUCKETS)))
    values = flatten_lists(_lists(column))[0] if kind == "multi_categorical" else column
    vocabulary = tuple(_categories(values).drop_nulls().unique().sort())
    return Transform(name, kind, len(vocabulary) + 1, vocabulary)


def _fits(kind: FeatureKind, dtype: pl.DataType) -> bool:
    if kind in ("multi_categorical", "vector"):
        if not isinstance(dtype, pl.List | pl.Array):
            return False
        dtype = dtype.inner  # type: ignore[assignment]  # of an instance, an instance
    if kind in ("numeric", "vector"):
        return dtype.is_numeric() or dtype == pl.Null
    if kind == "text":
        return isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null)
    return not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)


def _lists(column: pl.Series) -> pl.Series:
    inner = column.dtype.inner if isinstance(column.dtype, pl.List | pl.Array) else pl.String
    return column.cast(pl.List(inner))


def _categories(values: pl.Series) -> pl.Series:
    """As text; 25.0, which pandas makes of 25 where another row has none, is 25, and NaN is missing."""
    if not values.dtype.is_float():
        return values.cast(pl.String)
    whole = values.fill_nan(None).cast(pl.Int64, strict=False)
    return (
        values.fill_nan(None)
        .cast(pl.String)
        .zip_with((whole.cast(values.dtype) != values).fill_null(True), whole.cast(pl.String))
    )


def _words(column: pl.Series) -> pl.Series:
    return column.cast(pl.String).fill_null("").str.to_lowercase().str.extract_all(r"\w+")


def _tokens(word: str) -> list[str]:
    """The word, and the character n-grams of a longer one, so that unseen inflections still meet."""
    return [word, *(f"#{word[start : start + NGRAM]}" for start in range(len(word) - NGRAM + 1) if len(word) > NGRAM)]


def _hashed(words: pl.Series, size: int) -> Jagged:
    """Every row's tokens as hashed table rows. Each distinct word is hashed once."""
    flat, lengths = flatten_lists(words)
    distinct = flat.unique()
    hashed = Jagged.from_rows([[zlib.crc32(token.encode()) % size for token in _tokens(word)] for word in distinct])
    by_word = hashed.take(lookup_rows(flat, distinct))
    return Jagged(by_word.values, by_word.offsets[Jagged.from_lengths(flat.to_numpy(), lengths).offsets])


@dataclass(frozen=True)
class Encoder:
    """Item ids and fitted transforms: ``item_ids[i]`` stands at position ``i + 1``, trained items first."""

    item_ids: pl.Series
    num_trained: int
    item_transforms: tuple[Transform, ...]
    user_transforms: tuple[Transform, ...]
    columns: dict[str, str | None]  # the log's own names of user_id, item_id, time
    user_id_type: str

    @property
    def num_items(self) -> int:
        """Catalogue size, trained and cold."""
        return len(self.item_ids)

    def positions(self, ids: pl.Series) -> Int32:
        """[n] int32 catalogue positions, 0 where the id is unknown. Raises InputError where id types differ in kind."""
        known = self.item_ids.dtype
        require_known_kind(ids.dtype, known, "item")
        same = ids if ids.dtype == known else ids.cast(known, strict=False)
        if len(ids) <= FEW_IDS:
            return np.array([self._position_of.get(one, 0) for one in same.to_list()], np.int32)
        return lookup_rows(same, self.item_ids, offset=1)

    @cached_property
    def _position_of(self) -> dict[Any, int]:
        """For few ids at a time: a request can't wait for a join with the whole catalogue. About 150 bytes an item."""
        return {one: place for place, one in enumerate(self.item_ids.to_list(), start=1)}

    def ids(self, positions: npt.NDArray[np.integer]) -> pl.Series:
        """The ids at ``positions`` (each at least 1)."""
        return self.item_ids[positions.astype(np.int64) - 1]

    def _fields(self) -> dict[str, Any]:
        """Everything but the ids, which are stored as a table column."""
        return {name: value for name, value in asdict(self).items() if name != "item_ids"}

    def write(self, path: Path) -> None:
        """Write everything but the ids, which are stored as a table column, as JSON."""
        write_json(path, self._fields())

    @staticmethod
    def read(path: Path, item_ids: pl.Series) -> "Encoder":
        """Read what ``write`` wrote."""
        fields = read_json(path)
        for role in ("item_transforms", "user_transforms"):
            fields[role] = tuple(
                Transform(**transform | {"vocabulary": tuple(transform["vocabulary"])}) for transform in fields[role]
            )
        return Encoder(item_ids, **fields)

    def content_hash(self) -> str:
        """Hex sha256 over ids and transforms: two encoders with one hash encode alike."""
        content = [self._fields(), str(self.item_ids.dtype), self.item_ids.to_list()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
