"""Metadata of items and users: read, checked, and encoded by fitted transforms."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs
from pydantic import BaseModel

from ..config import FeatureConfig
from ..errors import InputError
from ..text_encoders import EncodeTexts, KnownTexts, fit_encoding
from .column_types import cast_ids, has_blanks, id_columns, require_same_kind, without_blanks
from .feature_kinds import KINDS, Transform
from .query_ids import shown
from .sources import Source, input_error_if_unreadable, named
from .tables import scan_table
from .text_columns import type_columns

# a list of one id: a user who was not trained on has an empty list, and thereby the zero vector
OWN_ID = FeatureConfig(name="own_id", kind="multi_categorical")


class MetadataCounts(BaseModel, frozen=True):
    """What a metadata table lacks, and what it repeats."""

    rows_without_id: int = 0
    rows_repeated: int = 0
    """Rows for an id that an earlier row has."""
    without_metadata: int = 0
    """Items of the catalogue, or users of the log, that the table lacks."""
    missing: dict[str, int] = {}
    """Rows without a finite number, by numeric feature."""
    clipped: dict[str, int] = {}
    """Rows with more than the feature was fitted on, by feature."""

    def to_json(self, role: str) -> dict[str, int]:
        """The counts above zero by the names that manifests use. role: "items" or "users"."""
        counts = {f"{role}_{name}": getattr(self, name) for name in _COUNTED}
        for kind in _BY_FEATURE:
            counts |= {f"{kind}: {role} {name}": count for name, count in getattr(self, kind).items()}
        return {name: count for name, count in counts.items() if count}

    @staticmethod
    def from_json(counts: dict[str, int], role: str) -> "MetadataCounts":
        """The inverse of ``to_json``; other names are ignored."""
        by_feature = {
            kind: {
                name.removeprefix(f"{kind}: {role} "): count
                for name, count in counts.items()
                if name.startswith(f"{kind}: {role} ")
            }
            for kind in _BY_FEATURE
        }
        return MetadataCounts(**{name: counts.get(f"{role}_{name}", 0) for name in _COUNTED}, **by_feature)


_COUNTED, _BY_FEATURE = ("rows_without_id", "rows_repeated", "without_metadata"), ("missing", "clipped")


@dataclass(frozen=True)
class MetadataTable:
    """Raw metadata: one row per id, the id column first; and what the file lacked or repeated."""

    table: pl.DataFrame
    counts: MetadataCounts


def read_metadata(
    source: Source | None,
    id_column: str,
    name: str,
    dtype: pl.DataType,
    features: tuple[FeatureConfig, ...] | tuple[Transform, ...],
    *,
    types: Mapping[str, pl.DataType] | None = None,
    decimal: str = ".",
) -> MetadataTable:
    """Read the metadata of items or users. Rows without an id are dropped; the first of several rows for an id wins.

    Args:
        source: A file, a pattern of files or a folder, or a table in memory; None if there is no metadata.
        id_column: The id column in that file.
        name: Its name in the result: item_id or user_id.
        dtype: The type of such ids in the log, and in the result.
        features: The columns that have to be there.
        types: Of other columns, as a bundle has them; those of a text file are given these types.
        decimal: The sign before the fraction of a number in a text file.

    Raises:
        InputError: A column is missing, ids can never match the log's, a feature is the id, or there are features but
            no file.
    """
    role = f"{name.removesuffix('_id')}s"
    if source is None:
        if features:
            raise InputError(f"features need metadata: set data.{role} to a file, or remove the features")
        return MetadataTable(pl.DataFrame(schema={name: dtype}), MetadataCounts())
    columns = [feature.column for feature in features]
    if {name, id_column, OWN_ID.name} & set(columns):
        raise InputError(f"{role}: the id is no feature; expected other columns: remove it from features.{role[:-1]}")
    raw = _read_raw(source, id_column, name, dtype, features, types or {}, decimal)
    with_id = raw.filter(pl.col(name).is_not_null())
    table = with_id.unique(name, keep="first", maintain_order=True)
    table = table.with_columns(cast_ids(table.get_column(name), dtype, role))
    counts = MetadataCounts(rows_without_id=raw.height - with_id.height, rows_repeated=with_id.height - table.height)
    return MetadataTable(table, counts)


def _read_raw(
    source: Source,
    id_column: str,
    name: str,
    dtype: pl.DataType,
    features: tuple[FeatureConfig, ...] | tuple[Transform, ...],
    types: Mapping[str, pl.DataType],
    decimal: str,
) -> pl.DataFrame:
    """All rows and columns of a metadata file, the id column first; arguments are those of ``read_metadata``."""
    role = f"{name.removesuffix('_id')}s"
    where = named(role, source)
    opened = scan_table(source, role, [id_column], others=list(dict.fromkeys(feature.column for feature in features)))
    with input_error_if_unreadable(where):
        ids = id_columns(opened.frame, {name: id_column}, where, text_types={name: dtype} if opened.is_text else None)
        own_names = [column for column in opened.frame.collect_schema() if column not in (id_column, name)]
        raw = opened.frame.select(*ids, cs.by_name(own_names)).collect()
    require_same_kind(raw.schema[name], dtype, id_column, role, "events")
    if opened.is_text:
        raw = type_columns(raw, features, {name: dtype} | dict(types), decimal, where, infers=opened.form == "csv")
    return raw.with_columns(without_blanks(pl.col(name))) if has_blanks(raw.get_column(name)) else raw


def fit_text_vector(config: FeatureConfig, functions: Mapping[str, EncodeTexts]) -> Transform:
    """The vector of a column's pretrained encoder as a feature of its own, beside the words.

    functions: the encoders that may run, by name.
    """
    assert config.encoder is not None  # as the caller has seen
    encoding = fit_encoding(config.encoder, config.name, functions)
    return Transform(config.vector_name, config.kind, len(encoding.probes[0]), encoding=encoding)


def with_own_id(users: pl.DataFrame) -> pl.DataFrame:
    """Add the users' own ids as a column to embed."""
    return users.with_columns(pl.concat_list("user_id").alias(OWN_ID.name))


def count_clipped(transforms: tuple[Transform, ...], table: pl.DataFrame) -> dict[str, int]:
    """How many rows hold more than a feature was fitted on, by feature; features without any are left out."""
    counts = {transform.name: transform.count_clipped(table.get_column(transform.column)) for transform in transforms}
    return {name: count for name, count in counts.items() if count}


def encode_features(
    transforms: tuple[Transform, ...], table: pl.DataFrame, earlier: tuple[pl.DataFrame, pl.DataFrame] | None = None
) -> pl.DataFrame:
    """Encode a metadata table: one column per transform, of the types that ``Transform.encode`` returns.

    Args:
        transforms: The features.
        table: Raw metadata.
        earlier: Metadata and what these transforms made of it. A pretrained encoder need not read the same text twice.

    Raises:
        InputError: A column has a type that does not suit its feature.
    """
    columns = []
    for transform in transforms:
        column = table.get_column(transform.column).alias(transform.name)
        try:
            columns.append(transform.encode(column, _known_texts(transform, earlier)))
        except pl.exceptions.PolarsError as error:
            raise InputError(
                f"feature {transform.name!r} is of kind {transform.kind!r} but its column is {column.dtype}; "
                f"expected {KINDS[transform.kind].expected}: cast the column"
            ) from error
    return pl.DataFrame(columns)


def _known_texts(transform: Transform, earlier: tuple[pl.DataFrame, pl.DataFrame] | None) -> KnownTexts | None:
    if transform.encoding is None or earlier is None or transform.column not in earlier[0].columns:
        return None
    raw, encoded = earlier
    vectors = encoded.get_column(transform.name).to_numpy().reshape(-1, transform.size)
    return KnownTexts(raw.get_column(transform.column).head(len(vectors)), vectors)


def joined_texts(transforms: tuple[Transform, ...], table: pl.DataFrame) -> pl.Series:
    """[n] String: what all text features of a row say, one after the other; null where they say nothing.

    table: raw metadata. A column that it lacks says nothing.
    """
    read = dict.fromkeys(transform.column for transform in transforms if transform.kind == "text")
    names = [name for name in read if name in table.columns]
    if not names:
        return pl.repeat(None, table.height, dtype=pl.String, eager=True)
    columns = [table.get_column(name).cast(pl.String).alias(str(number)) for number, name in enumerate(names)]
    joined = pl.DataFrame(columns).select(pl.concat_str(pl.all(), separator=" ", ignore_nulls=True)).to_series()
    return pl.select(pl.when(joined.str.len_bytes() > 0).then(joined)).to_series()


def encode_given(transform: Transform, column: pl.Series) -> pl.Series:
    """Encode values of one feature that a request gives. Raises InputError if they are of another type."""
    kind = KINDS[transform.kind]
    if not kind.accepts(column.dtype):
        raise InputError(
            f"{transform.column} is {shown(column.first())}, a value of type {column.dtype}; expected {kind.expected}"
        )
    return encode_features((transform,), column.alias(transform.column).to_frame()).to_series()
