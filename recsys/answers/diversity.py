"""Choosing an answer from candidates: at most so many of a kind, and items that are unlike each other.

Shape suffixes: C candidates, D embedding_dim, K answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ..data import Int32, Int64, Jagged, shown
from ..errors import InputError

Float32 = npt.NDArray[np.float32]
MAX_COLUMNS = 5  # that one answer may be limited by


@dataclass(frozen=True)
class Limit:
    """At most ``most`` items for each value of a column.

    codes: [N + 1] rows of numbers that stand for the values of an item: none for an item without a value, several where
    the column holds lists.
    """

    codes: Jagged
    most: int


class Limits:
    """The limits that requests name, on the columns of one catalogue. Its columns are read once.

    items: A row per item.
    """

    def __init__(self, items: pl.DataFrame) -> None:
        self._items = items
        self._codes = dict[str, Jagged]()

    def of(self, per: Mapping[str, int] | None) -> list[Limit]:
        """The limits of a request.

        An item without a value is not limited. An item with a list of values counts for each of them.

        Raises:
            InputError: An unknown column, one that cannot be compared, or a bad number.
        """
        if per is None:
            return []
        if not isinstance(per, Mapping) or len(per) > MAX_COLUMNS or not all(isinstance(name, str) for name in per):
            raise InputError(f'per is {shown(per)}; expected at most {MAX_COLUMNS} columns, such as {{"brand": 2}}')
        return [Limit(self._codes_of(column), _whole(column, most)) for column, most in per.items()]

    def _codes_of(self, column: str) -> Jagged:
        if column not in self._codes:
            self._codes[column] = _codes(self._items, column)
        return self._codes[column]


def _whole(column: str, most: object) -> int:
    if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 1:
        raise InputError(f"per: {column} is {shown(most)}; expected a whole number of items, at least 1")
    return int(most)


def _codes(items: pl.DataFrame, column: str) -> Jagged:
    if column not in items.columns:
        raise InputError(f"per: no column {shown(column)}; the items have {', '.join(items.columns)}")
    values = items.get_column(column)
    lists = values if isinstance(values.dtype, pl.List) else values.reshape((-1, 1)).arr.to_list()
    flat = lists.explode(empty_as_null=False, keep_nulls=False)
    if flat.dtype.is_nested() or flat.dtype in (pl.Binary, pl.Object):
        raise InputError(f"per: {column} is {values.dtype}; expected text, numbers, or lists of these")
    lengths = np.concatenate(([0], lists.list.len().fill_null(0).to_numpy())).astype(np.int64)
    codes = Jagged.from_lengths(flat.rank("dense").fill_null(0).to_numpy().astype(np.int64), lengths)
    return codes.keep(codes.values > 0)


def require_diversity(diversity: object) -> float:
    """The number. Raises InputError unless it is at least 0 and less than 1."""
    if isinstance(diversity, bool) or not isinstance(diversity, int | float | np.number) or not 0 <= diversity < 1:
        raise InputError(f"diversity is {shown(diversity)}; expected a number from 0 to less than 1")
    return float(diversity)


def choose(
    positions_C: Int32, scores_C: Float32, k: int, limits: Sequence[Limit] = (), diversity: float = 0.0,
    vectors_CD: Float32 | None = None,
) -> Int64:  # fmt: skip
    """Choose up to ``k`` candidates, one after the other: the best one that no limit forbids.

    Without diversity, the best is the one with the highest score. With it, the best has the highest marginal relevance:
    ``(1 - diversity) * r - diversity * s``, where r is the score, scaled so that the candidates' lowest is 0 and their
    highest 1, and s the highest cosine similarity to an item that was chosen before (0 for the first). That is the
    maximal marginal relevance of Carbonell and Goldstein (1998). Ties go to the earlier candidate.

    Args:
        positions_C: Distinct catalogue positions, the highest score first.
        scores_C: Their scores.
        k: How many to choose.
        limits: What the answer must keep.
        diversity: At least 0, less than 1.
        vectors_CD: Unit vectors of the candidates; needed for diversity.

    Returns:
        [K] numbers of candidates, in the order in which they were chosen; fewer than k if the limits forbid the rest.
    """
    codes = [limit.codes.take(positions_C.astype(np.int64)) for limit in limits]
    if diversity == 0:
        return _first_allowed(len(positions_C), k, codes, [limit.most for limit in limits])
    assert vectors_CD is not None
    spread = float(scores_C.max() - scores_C.min()) if len(scores_C) else 0.0
    relevance_C = (scores_C - scores_C.min()) / spread if spread > 0 else np.zeros_like(scores_C)
    relevance_C = (1 - diversity) * relevance_C.astype(np.float32)
    rows_of = [column.row_of_value for column in codes]  # computed at every use
    left, chosen = [dict[int, int]() for _ in limits], list[int]()
    value_C, product_C = relevance_C.copy(), np.empty_like(relevance_C)
    similar_C = np.full(len(scores_C), -np.inf, np.float32)
    for _ in range(min(k, len(positions_C))):
        best = int(value_C.argmax())
        if value_C[best] == -np.inf:
            break
        chosen.append(best)
        relevance_C[best] = -np.inf
        for column, rows, limit, counts in zip(codes, rows_of, limits, left, strict=True):
            for code in column[best].tolist():
                counts[code] = counts.get(code, 0) + 1
                if counts[code] == limit.most:
                    relevance_C[rows[column.values == code]] = -np.inf
        np.maximum(similar_C, np.dot(vectors_CD, vectors_CD[best], out=product_C), out=similar_C)
        np.multiply(similar_C, -diversity, out=value_C)
        value_C += relevance_C
    return np.array(chosen, np.int64)


def _first_allowed(num_candidates: int, k: int, codes: Sequence[Jagged], most: Sequence[int]) -> Int64:
    """The first candidates in order that keep the limits."""
    if not codes:
        return np.arange(min(k, num_candidates))
    values = [(column.values.tolist(), column.offsets.tolist()) for column in codes]
    counts, chosen = [dict[int, int]() for _ in codes], list[int]()
    for candidate in range(num_candidates):
        own = [flat[offsets[candidate] : offsets[candidate + 1]] for flat, offsets in values]
        if all(
            count.get(code, 0) < limit for part, count, limit in zip(own, counts, most, strict=True) for code in part
        ):
            chosen.append(candidate)
            if len(chosen) == k:
                break
            for part, count in zip(own, counts, strict=True):
                for code in part:
                    count[code] = count.get(code, 0) + 1
    return np.array(chosen, np.int64)
