"""Item and user metadata in the feature job: fit transforms on the training rows, put the table in catalogue order."""

import polars as pl

from recsys.config import FeatureConfig
from recsys.encoder import Transform, fit


def fit_transforms(features: tuple[FeatureConfig, ...], training_rows: pl.DataFrame) -> tuple[Transform, ...]:
    """One fitted transform per feature, from the metadata of training items (or users) only."""
    return tuple(fit(feature, training_rows.get_column(feature.name)) for feature in features)


def in_order(ids: pl.Series, metadata: pl.DataFrame) -> pl.DataFrame:
    """The metadata rows of ``ids``, in that order; nulls where there is none."""
    return ids.to_frame().join(metadata, on=ids.name, how="left", maintain_order="left")
