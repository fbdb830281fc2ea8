"""Ids and the numbers that stand for them: rows of a vocabulary, codes of a column, shards of users."""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from .parquet import WIDE

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
TABLE_SPAN = 8  # integer ids are looked up in a table that is at most so many times as long as what is asked
AT_ONCE = 1 << 17  # ids of a log: fresh memory for all of them costs more than the work, and these keep to the cache
ENUM_SHARE = 10  # strings through an Enum, which is dear to make, from so many times as many ids as words


def lookup_rows(ids: pl.Series, vocabulary: pl.Series, *, offset: int = 0) -> Int32:
    """[n] int32: the row of each id in ``vocabulary`` (distinct), plus ``offset``; ``offset - 1`` where absent."""
    if ids.dtype.is_integer() and vocabulary.dtype.is_integer() and len(ids) and len(vocabulary):
        words = vocabulary.to_numpy()
        low, high = int(words.min()), int(words.max())
        if high - low <= TABLE_SPAN * (len(ids) + len(words)) and high < 1 << 63:
            return _looked_up(ids.cast(pl.Int64, strict=False), words.astype(np.int64), low, high) + np.int32(offset)
    if ids.dtype == vocabulary.dtype == pl.String() and len(ids) > ENUM_SHARE * len(vocabulary):
        rows = ids.cast(pl.Enum(vocabulary), strict=False).to_physical()
    else:
        table = vocabulary.to_frame("id").with_row_index("row")
        rows = ids.to_frame("id").join(table, on="id", how="left", maintain_order="left").get_column("row")
    return rows.cast(pl.Int32).fill_null(-1).to_numpy() + np.int32(offset)


def _looked_up(ids: pl.Series, words: Int64, low: int, high: int) -> Int32:
    """The rows of integer ids by a table from low to high, its last entry for the absent: far faster than a join."""
    table = np.full(high - low + 2, -1, np.int32)
    table[words - low] = np.arange(len(words), dtype=np.int32)
    known = ids.is_between(low, high).fill_null(False).to_numpy()
    return table[np.where(known, ids.fill_null(low).to_numpy() - low, -1)]


def factorize_ids(ids: pl.Series) -> tuple[pl.Series, Int32]:
    """The sorted distinct ids, and [n] int32 the row of each id among them; in one pass, a third of a join's time."""
    if ids.dtype.is_integer() and ids.dtype not in WIDE and len(ids) and not ids.null_count():
        low, high = int(ids.min()), int(ids.max())  # type: ignore[arg-type]  # of integers, of whom there are some
        if high - low < TABLE_SPAN * len(ids):
            return _factorize_by_table(ids, low, high)
    for keys in (ids.hash(), ids) if ids.dtype == pl.String else (ids,):  # numbers are told apart faster than strings
        encoded = keys.rechunk().to_arrow().dictionary_encode(null_encoding="encode")
        codes, place = pl.Series(encoded.indices).to_numpy(), np.empty(len(encoded.dictionary), np.int64)
        for part in _parts(len(ids), AT_ONCE):
            place[codes[part]] = np.arange(part.start, part.stop)
        distinct = ids[place]
        if keys is ids or _stand_for(codes, distinct, ids):  # no two strings have one hash
            break
    order = distinct.arg_sort().to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return distinct[order], take_in_blocks(rank, codes)


def _factorize_by_table(ids: pl.Series, low: int, high: int) -> tuple[pl.Series, Int32]:
    """``factorize_ids`` of integers by a table from low to high."""
    wide = np.uint64 if ids.dtype == pl.UInt64 else np.int64  # an Int8 can't tell 127 from -1 by 128

    def places() -> Iterator[Int64]:
        for chunk in ids.get_chunks():
            values = chunk.to_numpy()
            for part in _parts(len(values), AT_ONCE):
                yield np.subtract(values[part], low, dtype=wide).view(np.int64)

    present = np.zeros(high - low + 1, bool)
    for part in places():
        present[part] = True
    narrow = ids.head(0).to_numpy().dtype
    distinct = pl.Series(ids.name, np.flatnonzero(present).astype(narrow) + narrow.type(low))
    row_of = np.cumsum(present, dtype=np.int32)
    row_of -= 1
    codes, start = np.empty(len(ids), np.int32), 0
    for part in places():
        row_of.take(part, out=codes[start : start + len(part)], mode="clip")  # none is out of range
        start += len(part)
    return distinct, codes


def take_in_blocks(values: npt.NDArray[Any], rows: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
    """``values[rows]``; part by part, since NumPy would copy rows of 32 bits as a whole to 64."""
    out = np.empty(len(rows), values.dtype)
    for part in _parts(len(rows), AT_ONCE):
        values.take(rows[part], out=out[part])
    return out


def count_codes(codes: Int32, num_codes: int) -> Int64:
    """[num_codes] int64: how often each code is there; part by part, as ``taken``."""
    counts = np.zeros(num_codes, np.int64)
    for part in _parts(len(codes), max(AT_ONCE, num_codes)):
        counts += np.bincount(codes[part], minlength=num_codes)
    return counts


def _parts(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _stand_for(codes: Int32, distinct: pl.Series, ids: pl.Series) -> bool:
    """Whether the codes' ids are these."""
    return all(distinct[codes[part]].equals(ids[part]) for part in _parts(len(ids), AT_ONCE))


def crc32_of_ids(ids: pl.Series) -> npt.NDArray[np.uint32]:
    """[n] uint32: a digest of each id that no library version changes; 7 is digested like "7"."""
    return np.fromiter((zlib.crc32(str(one).encode()) for one in ids), np.uint32, len(ids))


def shard_of(user_ids: pl.Series, num_shards: int) -> pl.Series:
    """[n] the shard of each user, by a digest of the id."""
    distinct, rows = factorize_ids(user_ids)
    return pl.Series("shard", crc32_of_ids(distinct) % np.uint32(num_shards)).gather(rows)
