"""Ids and the integers that stand for them: rows of a vocabulary, codes of a column, shards of users."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from .column_types import WIDE

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
TABLE_SPAN = 8  # integer ids go through a table if it has at most this many entries per id
BLOCK = 1 << 17  # ids at a time: a block stays in the cache, and fresh memory for all ids costs more than the work
ENUM_SHARE = 10  # building an Enum is expensive: worth it from ten ids per vocabulary entry

pl.Series(np.empty(0))  # Polars imports NumPy when it first meets an array, and fails if two threads are first at once


def lookup_rows(ids: pl.Series, vocabulary: pl.Series, *, offset: int = 0) -> Int32:
    """Look ids up in a vocabulary.

    Args:
        ids: [n] ids; nulls are absent.
        vocabulary: Distinct ids; both are integers of any types, or both strings.
        offset: Added to every result.

    Returns:
        [n] int32: the row of each id in ``vocabulary``, plus ``offset``; ``offset - 1`` if it is absent.
    """
    if ids.dtype.is_integer() and vocabulary.dtype.is_integer() and len(ids) and len(vocabulary):
        entries = vocabulary.to_numpy()
        low, high = int(entries.min()), int(entries.max())
        if high - low <= TABLE_SPAN * (len(ids) + len(entries)) and high < 1 << 63:
            return _lookup_by_table(ids, entries.astype(np.int64), low, high) + np.int32(offset)
    if ids.dtype == vocabulary.dtype == pl.String() and len(ids) > ENUM_SHARE * len(vocabulary):
        rows = ids.cast(pl.Enum(vocabulary), strict=False).to_physical()
    else:
        table = vocabulary.to_frame("id").with_row_index("row")
        rows = ids.to_frame("id").join(table, on="id", how="left", maintain_order="left").get_column("row")
    return rows.cast(pl.Int32).fill_null(-1).to_numpy() + np.int32(offset)


def _lookup_by_table(ids: pl.Series, vocabulary: Int64, low: int, high: int) -> Int32:
    """Rows of integer ids, -1 if absent, by a table from low to high: far faster than a join."""
    row_of = np.full(high - low + 2, -1, np.int32)  # the last entry is for absent ids
    row_of[vocabulary - low] = np.arange(len(vocabulary), dtype=np.int32)
    ids = ids.cast(pl.Int64, strict=False)
    in_range = ids.is_between(low, high).fill_null(False).to_numpy()
    return row_of[np.where(in_range, ids.fill_null(low).to_numpy() - low, -1)]


def factorize_ids(ids: pl.Series) -> tuple[pl.Series, Int32]:
    """The sorted distinct ids of a column, and its codes: [n] int32, each id's row among the distinct ones.

    Integers of a narrow range go through a table. Arrow encodes all others, strings by their 64-bit hashes, which takes
    a third of the time of a join. Should two distinct strings have the same hash, they are encoded as strings.
    """
    if ids.dtype.is_integer() and ids.dtype not in WIDE and len(ids) and not ids.null_count():
        low, high = int(ids.min()), int(ids.max())  # type: ignore[arg-type]  # integers, of which there are some
        if high - low < TABLE_SPAN * len(ids):
            return _factorize_by_table(ids, low, high)
    if ids.dtype == pl.String:
        distinct, codes = _encode(ids, ids.hash())
        if not _are_codes_of(codes, distinct, ids):
            distinct, codes = _encode(ids, ids)
    else:
        distinct, codes = _encode(ids, ids)
    order = distinct.arg_sort().to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return distinct[order], take_in_blocks(rank, codes)


def _encode(ids: pl.Series, keys: pl.Series) -> tuple[pl.Series, Int32]:
    """One id for each distinct key, in no particular order, and [n] int32 codes: rows among them."""
    encoded = keys.rechunk().to_arrow().dictionary_encode(null_encoding="encode")
    codes, some_row = pl.Series(encoded.indices).to_numpy(), np.empty(len(encoded.dictionary), np.int64)
    for block in _blocks(len(ids), BLOCK):
        some_row[codes[block]] = np.arange(block.start, block.stop)
    return ids[some_row], codes


def _are_codes_of(codes: Int32, distinct: pl.Series, ids: pl.Series) -> bool:
    return all(distinct[codes[block]].equals(ids[block]) for block in _blocks(len(ids), BLOCK))


def _factorize_by_table(ids: pl.Series, low: int, high: int) -> tuple[pl.Series, Int32]:
    """``factorize_ids`` for integers, by a table from low to high."""
    is_present = np.zeros(high - low + 1, bool)
    for offsets in _offsets_from(low, ids):
        is_present[offsets] = True
    dtype = ids.head(0).to_numpy().dtype
    distinct = pl.Series(ids.name, np.flatnonzero(is_present).astype(dtype) + dtype.type(low))
    code_of = np.cumsum(is_present, dtype=np.int32)
    code_of -= 1
    codes, start = np.empty(len(ids), np.int32), 0
    for offsets in _offsets_from(low, ids):
        # "clip" is the mode that checks nothing, and no offset is out of range
        code_of.take(offsets, out=codes[start : start + len(offsets)], mode="clip")
        start += len(offsets)
    return distinct, codes


def _offsets_from(low: int, ids: pl.Series) -> Iterator[Int64]:
    """Yield ``ids - low`` block by block."""
    wide = np.uint64 if ids.dtype == pl.UInt64 else np.int64  # 127 - -1 does not fit an Int8
    for chunk in ids.get_chunks():
        values = chunk.to_numpy()
        for block in _blocks(len(values), BLOCK):
            yield np.subtract(values[block], low, dtype=wide).view(np.int64)


def distinct_rows(rows: npt.NDArray[np.integer]) -> tuple[Int64, Int64]:
    """The distinct rows, sorted, and the index of each of ``rows`` among them. rows: [n], of any size from 0."""
    size = int(rows.max(initial=-1)) + 1
    if size > TABLE_SPAN * len(rows):  # a table of all rows would cost more than sorting those that are there
        distinct, index = np.unique(rows, return_inverse=True)
        return distinct.astype(np.int64), index
    is_present = np.zeros(size, bool)
    is_present[rows] = True
    distinct, index_of_row = np.flatnonzero(is_present), np.empty(size, np.int64)
    index_of_row[distinct] = np.arange(len(distinct))
    return distinct, index_of_row[rows]


def take_in_blocks(values: npt.NDArray[Any], rows: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
    """``values[rows]``, block by block: NumPy would first copy all 32-bit rows to 64 bits."""
    out = np.empty(len(rows), values.dtype)
    for block in _blocks(len(rows), BLOCK):
        values.take(rows[block], out=out[block])
    return out


def count_codes(codes: Int32, num_codes: int) -> Int64:
    """[num_codes] int64: how often each code occurs; block by block, as in ``take_in_blocks``."""
    counts = np.zeros(num_codes, np.int64)
    for block in _blocks(len(codes), max(BLOCK, num_codes)):
        counts += np.bincount(codes[block], minlength=num_codes)
    return counts


def _blocks(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def crc32_of_ids(ids: pl.Series) -> npt.NDArray[np.uint32]:
    """[n] uint32: a digest of each id that is the same in every release of every library; 7 has that of "7".

    It is zlib's, of all ids of a block at once: one step takes the next byte of each. That takes a quarter of the time
    of a call for each id. A null has the digest of no bytes, 0.
    """
    text = ids.cast(pl.String).rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets_buffer, content_buffer = text.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[text.offset :] if len(ids) else np.zeros(1, np.int64)
    content = np.frombuffer(content_buffer or b"", np.uint8)
    digests = np.empty(len(ids), np.uint32)
    for block in _blocks(len(ids), max(1, BLOCK // 8)):
        digests[block] = _crc32(content, offsets[block.start : block.stop + 1])
    return digests


def _crc32(content: npt.NDArray[np.uint8], offsets: Int64) -> npt.NDArray[np.uint32]:
    """[n] uint32: the CRC-32 of each span of bytes. offsets: [n + 1], where the spans start and end."""
    starts, lengths = offsets[:-1], np.diff(offsets)
    digests = np.full(len(starts), 0xFFFFFFFF, np.uint32)
    shortest = int(lengths.min())
    for place in range(int(lengths.max())):
        rows = slice(None) if place < shortest else np.flatnonzero(lengths > place)
        current = digests[rows]
        steps = _CRC32.take(current.astype(np.uint8) ^ content.take(starts[rows] + place, mode="clip"), mode="clip")
        digests[rows] = (current >> np.uint32(8)) ^ steps
    return ~digests


_CRC32 = np.arange(256, dtype=np.uint32)  # what each byte does to a digest; zlib's polynomial, with its bits reversed
for _ in range(8):
    _CRC32 = np.where(_CRC32 & 1, np.uint32(0xEDB88320), np.uint32(0)) ^ (_CRC32 >> np.uint32(1))


def shard_of(user_ids: pl.Series, num_shards: int) -> pl.Series:
    """[n] the shard of each user, by a digest of the id."""
    distinct, codes = factorize_ids(user_ids)
    return pl.Series("shard", crc32_of_ids(distinct) % np.uint32(num_shards)).gather(codes)
