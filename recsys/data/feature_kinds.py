"""The kinds of metadata columns: what each accepts, what it learns from training rows, and how it encodes a column.

To add a kind, give it an entry in ``KINDS`` and its name a place in ``FeatureKind`` (recsys/config/feature_keys.py).
All fields of ``Transform`` are stored with the dataset and the bundle.

A *bag* encodes each row as rows of an embedding table, which a tower looks up and averages; every other kind encodes it
as numbers, which a tower multiplies by a matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ..config import FeatureConfig, FeatureKind
from ..errors import InputError
from ..fitted_range import FittedRange, Float32, Float64, fit_range, lengths_of, longer_than, shortened
from ..hashed_words import MAX_WORDS, count_long_texts, hashes_of, num_buckets, words_of
from ..text_encoders import KnownTexts, TextEncoding
from .factorize import Int32, lookup_rows
from .jagged import Jagged, flatten_lists

MAX_VALUES = MAX_WORDS  # of a listed row that are read


@dataclass(frozen=True)
class Transform:
    """One metadata column, fitted.

    Attributes:
        name: The column's name.
        kind: A key of ``KINDS``.
        size: Rows of the embedding table for a bag, else numbers per row.
        vocabulary: The values of a (multi_)categorical column. Value ``i`` is encoded as ``i + 1``; 0 is unknown.
        mean, scale: Of a numeric column.
        low, high: The range that numbers are clipped to, or of a vector (high alone) the largest length; see
            fitted_range.py. None where nothing is clipped, as in what an earlier release fitted.
        encoding: The pretrained encoder whose vector this is, of a text column; None for the words themselves.
    """

    name: str
    kind: FeatureKind
    size: int
    vocabulary: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    low: float | None = None
    high: float | None = None
    encoding: TextEncoding | None = None

    @property
    def column(self) -> str:
        """The metadata column that is encoded: of a text with a pretrained encoder there are two features."""
        return self.name if self.encoding is None else self.encoding.column

    @property
    def is_bag(self) -> bool:
        """Whether a tower looks rows up in an embedding table, rather than multiplying numbers by a matrix."""
        return self.encoding is None and KINDS[self.kind].is_bag

    def encode(self, column: pl.Series, known: KnownTexts | None = None) -> pl.Series:
        """Encode a column: List(Int32) of embedding table rows for a bag, else Array(Float32, size)."""
        if self.encoding is not None:
            return _as_arrays(self.encoding.encode(column, self.size, known), self)
        return KINDS[self.kind].encode(self, column.alias("values"))

    def is_known(self, encoded: pl.Series) -> npt.NDArray[np.bool_]:
        """[n] whether rows that ``encode`` returned hold a value that was seen in training."""
        kind = self.kind if self.encoding is None else "vector"
        known: npt.NDArray[np.bool_] = KINDS[kind].is_known(encoded.alias("values")).to_numpy()
        return known

    def nothing(self, count: int) -> pl.Series:
        """A column that adds nothing to a vector: a flag for "missing" would, and may never have been trained."""
        if self.is_bag:
            return pl.Series(self.name, [[]] * count, dtype=pl.List(pl.Int32))
        return _as_arrays(np.zeros((count, self.size), np.float32), self)

    def count_clipped(self, column: pl.Series) -> int:
        """How many rows of a column hold more than the transform was fitted on, and are clipped."""
        return KINDS[self.kind].count_clipped(self, column.alias("values")) if self.encoding is None else 0


@dataclass(frozen=True)
class Kind:
    """How one kind of column is checked, fitted and encoded.

    Attributes:
        expected: What a column must hold, in the words of an error message.
        accepts: Whether a column of this type can be of this kind.
        fit: From the column's name and its training rows to the fitted transform.
        encode: From a transform and any rows to the encoded rows, as ``Transform.encode`` describes.
        is_bag: See the module.
        is_known: From encoded rows to whether each holds a value that was seen in training.
        count_clipped: From a transform and any rows to how many of them are clipped.
    """

    expected: str
    accepts: Callable[[pl.DataType], bool]
    fit: Callable[[str, pl.Series], Transform]
    encode: Callable[[Transform, pl.Series], pl.Series]
    is_bag: bool = True
    is_known: Callable[[pl.Series], pl.Series] = lambda encoded: encoded.list.len() > 0
    count_clipped: Callable[[Transform, pl.Series], int] = lambda *_: 0


def fit_feature(config: FeatureConfig, column: pl.Series) -> Transform:
    """Fit one transform on the metadata of the training items (or users).

    Raises:
        InputError: The column's type does not suit the feature's kind.
    """
    kind = KINDS[config.kind]
    if not kind.accepts(column.dtype):
        raise InputError(
            f"feature {config.name!r} is of kind {config.kind!r} but its column is {column.dtype}; "
            f"expected {kind.expected}: choose another kind, or cast the column"
        )
    return kind.fit(config.name, column.alias("values"))  # Polars reads a name such as "^t.*$" as a pattern


# Categorical and multi_categorical: rows of a vocabulary


def _fit_categorical(name: str, column: pl.Series) -> Transform:
    return Transform(name, "categorical", len(vocabulary := _vocabulary(column)) + 1, vocabulary)


def _fit_multi_categorical(name: str, column: pl.Series) -> Transform:
    vocabulary = _vocabulary(flatten_lists(_as_lists(column).list.head(MAX_VALUES))[0])
    return Transform(name, "multi_categorical", len(vocabulary) + 1, vocabulary)


def _encode_categorical(transform: Transform, column: pl.Series) -> pl.Series:
    rows = _rows_in_vocabulary(transform, column)
    return Jagged.from_lengths(rows, np.ones(len(column), np.int64)).to_series(transform.name)


def _encode_multi_categorical(transform: Transform, column: pl.Series) -> pl.Series:
    """Unknown values are left out: a row without a known value is an empty list."""
    values, lengths = flatten_lists(_as_lists(column).list.head(MAX_VALUES))
    rows = Jagged.from_lengths(_rows_in_vocabulary(transform, values), lengths)
    return rows.keep(rows.values > 0).to_series(transform.name)


def _count_long_lists(transform: Transform, column: pl.Series) -> int:
    return int((_as_lists(column).list.len() > MAX_VALUES).sum())


def _vocabulary(values: pl.Series) -> tuple[str, ...]:
    return tuple(_as_text(values).drop_nulls().unique().sort())


def _rows_in_vocabulary(transform: Transform, values: pl.Series) -> Int32:
    return lookup_rows(_as_text(values), pl.Series(transform.vocabulary, dtype=pl.String), offset=1)


def _as_lists(column: pl.Series) -> pl.Series:
    inner = column.dtype.inner if isinstance(column.dtype, pl.List | pl.Array) else pl.String
    return column.cast(pl.List(inner))


def _as_text(values: pl.Series) -> pl.Series:
    """Values as text. NaN is missing, and 25.0 is "25": pandas turns integers into floats if one of them is missing."""
    if not values.dtype.is_float():
        return values.cast(pl.String)
    numbers = values.fill_nan(None)
    integers = numbers.cast(pl.Int64, strict=False)
    has_fraction = (integers.cast(values.dtype) != values).fill_null(True)
    return numbers.cast(pl.String).zip_with(has_fraction, integers.cast(pl.String))


# Numeric: a standardised number, and a flag for rows without one


def _fit_numeric(name: str, column: pl.Series) -> Transform:
    numbers = _numbers(column)
    numbers = numbers[np.isfinite(numbers)]
    fitted = fit_range(numbers)
    numbers = fitted.clip(numbers)
    mean, scale = (float(numbers.mean()), float(numbers.std())) if len(numbers) else (0.0, 1.0)
    if scale <= 1e-9 * abs(mean):  # rounding leaves a constant column a tiny standard deviation
        scale = 1.0
        fitted = fitted if fitted.low == fitted.high else FittedRange(mean, mean)
    return Transform(name, "numeric", 2, mean=mean, scale=scale, low=fitted.low, high=fitted.high)


def _encode_numeric(transform: Transform, column: pl.Series) -> pl.Series:
    numbers = _numbers(column)
    present = np.isfinite(numbers)
    inside = _range_of(transform).clip(np.where(present, numbers, 0.0))
    scaled = np.where(present, (inside - transform.mean) / transform.scale, 0.0)
    return _as_arrays(np.stack([scaled, ~present], axis=1).astype(np.float32), transform)


def _count_clipped_numbers(transform: Transform, column: pl.Series) -> int:
    return _range_of(transform).count_outside(_numbers(column))


def _numbers(column: pl.Series) -> Float64:
    return column.cast(pl.Float64).to_numpy()


def _range_of(transform: Transform) -> FittedRange:
    low, high = transform.low, transform.high
    return FittedRange(-np.inf if low is None else low, np.inf if high is None else high)


# Vector: numbers as they are, zeros where there are none, shortened where longer than any that was fitted


def _fit_vector(name: str, column: pl.Series) -> Transform:
    lengths = column.drop_nulls().cast(pl.List(pl.Float32)).list.len()
    size = int(lengths.max() or 1)  # type: ignore[arg-type]  # a length is an int
    norms = lengths_of(_vectors(name, size, column))
    return Transform(name, "vector", size, high=fit_range(norms[norms > 0]).high)


def _encode_vector(transform: Transform, column: pl.Series) -> pl.Series:
    vectors = _vectors(transform.name, transform.size, column)
    return _as_arrays(vectors if transform.high is None else shortened(vectors, transform.high), transform)


def _count_long_vectors(transform: Transform, column: pl.Series) -> int:
    vectors, high = _vectors(transform.name, transform.size, column), transform.high
    return 0 if high is None else int(longer_than(vectors, high).sum())


def _vectors(name: str, size: int, column: pl.Series) -> Float32:
    """[n, size] float32, zeros in place of what is missing or not finite."""
    filled = column.cast(pl.List(pl.Float32)).fill_null([0.0] * size)
    wrong = filled.filter(filled.list.len() != size)
    if len(wrong):
        raise InputError(
            f"feature {name!r} has a vector of {len(wrong[0])} numbers beside those of {size}; expected one length"
        )
    vectors = filled.explode().to_numpy().astype(np.float32).reshape(-1, size)
    return np.where(np.isfinite(vectors), vectors, np.float32(0))


def _as_arrays(numbers: np.ndarray, transform: Transform) -> pl.Series:
    return pl.Series(transform.name, numbers, dtype=pl.Array(pl.Float32, transform.size))


# Text: words and their character n-grams, hashed


def _fit_text(name: str, column: pl.Series) -> Transform:
    return Transform(name, "text", num_buckets(flatten_lists(words_of(column))[0]))


def _encode_text(transform: Transform, column: pl.Series) -> pl.Series:
    """Hash each distinct word once, then give every row the hashes of its words."""
    words, lengths = flatten_lists(words_of(column))
    distinct = words.unique()
    hashes = Jagged.from_rows([hashes_of(word, transform.size) for word in distinct])
    by_word = hashes.take(lookup_rows(words, distinct))
    first_word = Jagged.from_lengths(words.to_numpy(), lengths).offsets
    return Jagged(by_word.values, by_word.offsets[first_word]).to_series(transform.name)


def _holds_categories(dtype: pl.DataType) -> bool:
    return not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)


def _holds_numbers(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Null


def _holds_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Null)


def _lists_of(accepts: Callable[[pl.DataType], bool]) -> Callable[[pl.DataType], bool]:
    return lambda dtype: isinstance(dtype, pl.List | pl.Array) and accepts(dtype.inner)  # type: ignore[arg-type]


KINDS: dict[FeatureKind, Kind] = {
    "categorical": Kind(
        "one value a row", _holds_categories, _fit_categorical, _encode_categorical,
        is_known=lambda encoded: encoded.list.get(0, null_on_oob=True).fill_null(0) > 0,
    ),
    "multi_categorical": Kind(
        "lists of values", _lists_of(_holds_categories), _fit_multi_categorical, _encode_multi_categorical,
        count_clipped=_count_long_lists,
    ),
    "numeric": Kind(
        "numbers", _holds_numbers, _fit_numeric, _encode_numeric, is_bag=False,
        is_known=lambda encoded: encoded.arr.get(1) == 0, count_clipped=_count_clipped_numbers,
    ),
    "text": Kind(
        "strings", _holds_text, _fit_text, _encode_text, count_clipped=lambda _, column: count_long_texts(column)
    ),
    "vector": Kind(
        "lists of numbers", _lists_of(_holds_numbers), _fit_vector, _encode_vector, is_bag=False,
        is_known=lambda encoded: pl.Series(encoded.to_numpy().any(axis=1)), count_clipped=_count_long_vectors,
    ),
}  # fmt: skip
