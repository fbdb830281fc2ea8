import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.data import factorize
from recsys.data.factorize import count_codes, crc32_of_ids, factorize_ids, lookup_rows, shard_of, take_in_blocks


@pytest.fixture(autouse=True, params=[factorize.BLOCK, 3], ids=["in one block", "block by block"])
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factorize, "BLOCK", request.param)


def test_rows_of_is_a_table() -> None:
    vocabulary = pl.Series(["b", "a", "c"])
    ids = pl.Series(["c", None, "b", "z", "c"])
    assert lookup_rows(ids, vocabulary).tolist() == [2, -1, 0, -1, 2]
    assert lookup_rows(ids, vocabulary, offset=1).tolist() == [3, 0, 1, 0, 3]
    assert lookup_rows(ids.head(0), vocabulary).dtype == np.int32
    assert lookup_rows(ids, vocabulary.head(0), offset=1).tolist() == [0] * 5


@pytest.mark.parametrize("span", [1, 1000], ids=["a table", "a join"])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.Int32])
def test_integer_ids_of_any_type(dtype: Any, span: int) -> None:
    vocabulary = pl.Series([4, 0, 2]).cast(dtype) * span
    ids = pl.Series([2 * span, None, 5 * span, -1, 0, 3, 1 << 62, -(1 << 63)])
    assert lookup_rows(ids, vocabulary).tolist() == [2, -1, -1, -1, 1, -1, -1, -1]
    beyond = pl.Series([0, (1 << 64) - 1, 4 * span], dtype=pl.UInt64)
    assert lookup_rows(beyond, vocabulary, offset=1).tolist() == [2, 0, 1]
    assert lookup_rows(beyond, beyond.tail(2)).tolist() == [-1, 0, 1]


@pytest.mark.parametrize("ids", [
    pl.Series("x", [10, 9, 100, 9]), pl.Series("x", [10, 9, 100, 9, None]), pl.Series("x", [3, -1, 3, 2]),
    pl.Series("x", [-128, 127, 0, 127], dtype=pl.Int8), pl.Series("x", [1 << 63, (1 << 64) - 1, 0], dtype=pl.UInt64),
    pl.Series("x", [(1 << 64) - 1, (1 << 64) - 3, (1 << 64) - 1], dtype=pl.UInt64),
    pl.Series("x", [-(1 << 63), (1 << 63) - 1, 5, 5]), pl.Series("x", ["10", "9", "", "ä", "9", "a longer string"]),
    pl.Series("x", ["b", None, "a", "b"]),
    pl.Series("x", [*range(-1, 128), -1], dtype=pl.Int8), pl.Series("x", [-128, 127, 3] * 100, dtype=pl.Int8),
    pl.Series("x", [*range(-20_000, 20_000)], dtype=pl.Int16), pl.Series("x", [7, 255] * 40, dtype=pl.UInt8),
    pl.Series("x", [(1 << 64) - 9, (1 << 64) - 1] * 9, dtype=pl.UInt64),
    pl.Series("x", [-(1 << 63), 9 - (1 << 63)] * 9), pl.Series("x", [(1 << 63) - 1, (1 << 63) - 9] * 9),
])  # fmt: skip
def test_factorize_sorts_in_the_ids_own_type(ids: pl.Series) -> None:
    distinct, rows = factorize_ids(ids)
    assert distinct.equals(ids.unique().sort(), check_dtypes=True)
    assert distinct.gather(rows).equals(ids)
    assert (distinct.name, rows.dtype) == ("x", np.int32)
    assert [len(part) for part in factorize_ids(ids.head(0))] == [0, 0]
    many, again = factorize_ids(pl.concat([ids, ids, ids], rechunk=False))
    assert many.equals(distinct)
    assert again.tolist() == rows.tolist() * 3


def test_codes_are_counted_and_taken() -> None:
    values, rows = np.array([5, 7, 9]), np.array([2, 0, 0, 1, 2, 2, 0], np.int32)
    assert take_in_blocks(values, rows).tolist() == [9, 5, 5, 7, 9, 9, 5]
    assert count_codes(rows, 4).tolist() == [3, 1, 3, 0]
    assert count_codes(rows[:0], 2).tolist() == [0, 0]
    with pytest.raises(IndexError):
        take_in_blocks(values, rows + 1)


def test_strings_of_one_hash_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = pl.Series("x", ["b", "a", "b", "c"])
    monkeypatch.setattr(pl.Series, "hash", lambda self: pl.Series([7, 7, 7, 8]))
    distinct, rows = factorize_ids(ids)
    assert (distinct.to_list(), rows.tolist()) == (["a", "b", "c"], [1, 0, 1, 2])


def test_many_strings_have_the_same_rows_as_few() -> None:
    vocabulary, ids = pl.Series(["b", "", "ä"]), pl.Series(["ä", None, "z", "b", ""] * 10)
    assert lookup_rows(ids, vocabulary).tolist() == [2, -1, -1, 0, 1] * 10
    assert lookup_rows(ids.head(5), vocabulary).tolist() == [2, -1, -1, 0, 1]


def test_shards_are_those_of_every_release() -> None:
    ids = pl.Series([1, 2, 3, 4, 1, 10**12])
    assert crc32_of_ids(ids).tolist() == [zlib.crc32(str(one).encode()) for one in ids]
    assert shard_of(ids, 4).to_list() == [3, 1, 3, 0, 3, 0]
    assert shard_of(ids.cast(pl.String), 4).to_list() == [3, 1, 3, 0, 3, 0]
    assert shard_of(ids.cast(pl.UInt64), 1).to_list() == [0] * 6
    assert shard_of(ids.head(0), 4).to_list() == []


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series(["", "a", "an id of more than twelve bytes", "ä", "日本語"]),
        pl.Series([-1, 0, 1 << 62], dtype=pl.Int64),
        pl.Series([(1 << 64) - 1, 7], dtype=pl.UInt64),
        pl.Series([f"u{row * row}" for row in range(40_000)]),  # more than a block
    ],
)
def test_digests_of_ids_are_those_of_zlib(ids: pl.Series) -> None:
    assert crc32_of_ids(ids).tolist() == [zlib.crc32(str(one).encode()) for one in ids]
    assert crc32_of_ids(ids.slice(1)).tolist() == crc32_of_ids(ids)[1:].tolist()


def test_polars_has_imported_numpy_before_threads_can_race_for_it() -> None:
    """Seen once in 200 runs that were killed: its proxy for NumPy is not safe between threads."""
    code = "import recsys.data.factorize, polars._dependencies as d; assert not isinstance(d.numpy, d._LazyModule)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
