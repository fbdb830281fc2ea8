"""Item and user metadata: read, check, fit transforms on the training rows, encode the whole table."""

import polars as pl

from recsys.config import FeatureConfig
from recsys.encoder import Transform, fit
from recsys.schema import id_type, require_columns, require_same_kind, scan


def read_metadata(
    location: str | None, id_column: str, name: str, dtype: pl.DataType, features: tuple[FeatureConfig, ...]
) -> pl.DataFrame:
    """The metadata table with its id column called ``name`` (``item_id`` or ``user_id``) and cast to the log's type.

    The first of several rows for one id wins. Raises ValueError on a missing column, a type that can't match the log's,
    or features without a file.
    """
    if location is None:
        if features:
            raise ValueError(f"features need metadata: set data.{name[:-3]}s to a Parquet file, or remove the features")
        return pl.DataFrame(schema={name: dtype})
    role = f"{name[:-3]}s"
    frame = scan(location, role)
    require_columns(frame, [id_column, *(feature.name for feature in features)], role, location)
    require_same_kind(id_type(frame, id_column, role), dtype, id_column, role, "events")
    renamed = frame.rename({id_column: name}).with_columns(pl.col(name).cast(dtype))
    return renamed.filter(pl.col(name).is_not_null()).unique(name, keep="first", maintain_order=True).collect()


def fit_transforms(features: tuple[FeatureConfig, ...], training_rows: pl.DataFrame) -> tuple[Transform, ...]:
    """One fitted transform per feature, from the metadata of training items (or users) only."""
    return tuple(fit(feature, training_rows.get_column(feature.name)) for feature in features)


def encode_features(transforms: tuple[Transform, ...], table: pl.DataFrame) -> pl.DataFrame:
    """A column per transform; see Transform.encode for the types."""
    return pl.DataFrame([transform.encode(table.get_column(transform.name)) for transform in transforms])


def in_order(ids: pl.Series, metadata: pl.DataFrame) -> pl.DataFrame:
    """The metadata rows of ``ids``, in that order; nulls where there is none."""
    return ids.to_frame().join(metadata, on=ids.name, how="left", maintain_order="left")
