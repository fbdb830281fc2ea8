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
        for transform in transforms
        if transform.kind == "text"
    ]
    return FeatureTable.from_frame(transforms, pl.DataFrame(columns)).take(np.arange(1, len(texts) + 1))
