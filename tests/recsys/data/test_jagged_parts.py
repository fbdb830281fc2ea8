from collections.abc import Sequence

import numpy as np
import pytest

from recsys.data import jagged_parts
from recsys.data.jagged import Jagged
from recsys.data.jagged_parts import JaggedParts, ValidatedHistories

ROWS = [[4, 1], [], [3], [7, 7, 7], [2, 9, 5, 1], [], [8]]
ONE = JaggedParts([Jagged.from_rows(ROWS)])
THREE = JaggedParts([Jagged.from_rows(ROWS[:3]), Jagged.from_rows(ROWS[3:3]), Jagged.from_rows(ROWS[3:])])


def _lists(rows: Jagged) -> list[list[int]]:
    return [rows[row].tolist() for row in range(len(rows))]


@pytest.mark.parametrize("parts", [ONE, THREE])
@pytest.mark.parametrize("rows", [[], [2], [6, 0, 3, 3], [1, 4, 5], list(range(7))])
def test_a_row_is_the_same_in_one_part_or_many(parts: JaggedParts, rows: Sequence[int]) -> None:
    chosen = np.array(rows, np.int64)
    assert _lists(parts.take(chosen)) == [ROWS[row] for row in rows]
    assert parts.select(chosen).lengths.tolist() == [len(ROWS[row]) for row in rows]
    assert _lists(parts.select(chosen).whole()) == [ROWS[row] for row in rows]
    twice = np.arange(len(rows))[::-1].copy()
    assert _lists(parts.select(chosen).select(twice).whole()) == [ROWS[row] for row in rows[::-1]]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_blocks_hold_every_row_once(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jagged_parts, "VALUES_AT_ONCE", size)
    assert [row for block in THREE.blocks() for row in _lists(block)] == ROWS
    assert _lists(THREE.whole()) == ROWS
    assert THREE.count_codes(10).tolist() == [0, 2, 1, 1, 1, 1, 0, 3, 1, 1]


def test_one_whole_part_is_not_copied() -> None:
    assert ONE.whole() is ONE.parts[0]
    nothing = JaggedParts([Jagged.from_rows([])])
    assert len(nothing) == len(nothing.whole()) == len(nothing.select(np.empty(0, np.int64)).whole()) == 0


@pytest.mark.parametrize("size", [1, 100])
def test_validated_histories_are_followed_by_known_targets(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jagged_parts, "VALUES_AT_ONCE", size)
    positions = np.array([3, 0, 1, 2], np.int32)  # code 1 is in no catalogue
    validated = ValidatedHistories(Jagged.from_rows([[0, 1], [], [1]]), Jagged.from_rows([[2], [3], [1]]), positions)
    parts = JaggedParts([Jagged.from_rows([[9]]), validated])
    assert parts.lengths.tolist() == [1, 2, 1, 0]
    assert _lists(parts.take(np.array([3, 1, 0, 2]))) == [[], [3, 1], [9], [2]]
