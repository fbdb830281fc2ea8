"""Search by text: a text as the features of an item of which nothing else is known."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from .data import Transform
from .errors import InputError
from .model import FeatureRows, FeatureTable


def require_text_feature(transforms: tuple[Transform, ...]) -> None:
    """Raise InputError if no item feature is a text."""
    if not any(transform.kind == "text" for transform in transforms):
        raise InputError("this model has no item feature of kind 'text'; train one with it to search by text")


def features_of_texts(transforms: tuple[Transform, ...], texts: Sequence[str]) -> FeatureRows:
    """Encode each text as every text feature of an item, and leave the other features empty.

    transforms: the item features of a model. texts: at least one.
    """
    columns = [
        transform.encode(pl.Series(list(texts), dtype=pl.String)).alias(transform.name)
        if transform.kind == "text"
        else _empty_column(transform, len(texts))
        for transform in transforms
    ]
    return FeatureTable.from_frame(transforms, pl.DataFrame(columns)).take(np.arange(1, len(texts) + 1))


def _empty_column(transform: Transform, count: int) -> pl.Series:
    """An encoded column that adds nothing to a vector: a flag for "missing" would, and may never have been trained."""
    if transform.is_bag:
        return pl.Series(transform.name, [[]] * count, dtype=pl.List(pl.Int32))
    zeros = np.zeros((count, transform.size), np.float32)
    return pl.Series(transform.name, zeros, dtype=pl.Array(pl.Float32, transform.size))
