"""Which columns of metadata are features, and of which kind."""

import re
from dataclasses import dataclass

import polars as pl

from recsys.config import FeatureKind

from .columns import Column
from .names import IDENTIFIER, OUTCOME, words_of

ADDRESS = re.compile(r"^(https?://|www\.|/|[\w.+-]+@)\S*$|\.(jpe?g|png|gif|webp)$", re.IGNORECASE)
CODES = (*IDENTIFIER, "type", "zip", "zipcode", "postcode", "postal", "plz", "category", "group", "class", "department")
FEW_NAMES = 0.5  # texts that are names: this share of the rows at most are distinct
SEPARATED, EMPTY = 0.3, 0.95


@dataclass(frozen=True)
class SuggestedFeature:
    """A column and the kind of feature that it makes. kind: None for no feature. reason: Why, in a few words."""

    name: str
    kind: FeatureKind | None
    reason: str


def suggest_feature(column: Column) -> SuggestedFeature:
    """Look at a column of metadata and suggest a kind of feature, or none."""
    kind, reason = _suggest(column)
    return SuggestedFeature(column.name, kind, reason)


def _suggest(column: Column) -> tuple[FeatureKind | None, str]:
    if not column.present:
        return None, "it is empty"
    if column.present < (1 - EMPTY) * column.rows:
        return None, f"only {column.present:,} of {column.rows:,} rows have a value"
    if isinstance(column.dtype, pl.List | pl.Array):
        inner = column.dtype.inner
        is_vector = isinstance(column.dtype, pl.Array) or inner in (pl.Float32, pl.Float64)
        return ("vector", "lists of numbers") if is_vector else ("multi_categorical", "lists of values")
    if column.distinct == 1:
        return None, "all rows have the same value"
    if set(words_of(column.name)) & set(OUTCOME):
        return None, "it may come from the events that are to be predicted: name it yourself if it does not"
    if column.dtype == pl.Boolean:
        return "categorical", "true or false"
    if column.is_number:
        return _suggest_of_numbers(column)
    if column.clock is not None or column.dtype.is_temporal():
        return None, "there is no kind for dates: a number such as the year would do"
    if not column.is_text:
        return None, f"there is no kind for {column.dtype}"
    return _suggest_of_text(column)


def _suggest_of_numbers(column: Column) -> tuple[FeatureKind | None, str]:
    if column.clock is not None and column.clock.unit:
        return None, "there is no kind for dates: a number such as the year would do"
    is_code = bool(set(words_of(column.name)) & set(CODES)) and column.integers == column.present
    if is_code and column.is_unique:
        return None, "every row has another code"
    if is_code or (column.integers == column.present and column.distinct <= 2):
        return "categorical", f"{column.distinct:,} codes"
    return "numeric", "numbers, with a decimal comma" if column.has_decimal_comma else "numbers"


def _suggest_of_text(column: Column) -> tuple[FeatureKind | None, str]:
    if ADDRESS.search(column.example):
        return None, "addresses say nothing by themselves"
    if column.json_lists == column.present:
        numbers = re.match(r"^\[\s*-?\d*\.\d", column.example)
        return ("vector", "lists of numbers in JSON") if numbers else ("multi_categorical", "lists in JSON")
    if column.separated >= SEPARATED * column.present and column.mean_words < 12:
        return "text", f"values such as {column.example!r}, read as words; write lists as JSON for multi_categorical"
    is_code = bool(set(words_of(column.name)) & set(CODES))
    if column.is_unique and (is_code or column.mean_words < 1.5):
        return None, "every row has another value"
    if is_code or column.distinct <= FEW_NAMES * column.present:
        return "categorical", f"{column.distinct:,} values"
    return "text", f"{column.mean_words:.1f} words on average"
