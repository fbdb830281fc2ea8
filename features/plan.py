"""How many shards the users are divided into, and how many of them are processed at once, so that memory suffices.

A shard takes memory while it is cleaned, grouped and encoded; apart from the items and the metadata, all else takes
little. So a log that fits in ``data.memory`` is one shard. Any other is divided into so many that one takes an eighth
of it: users are not all alike, and what reads the log or unites the shards needs memory, too.
"""

import logging
from dataclasses import dataclass

import polars as pl

from recsys.config import DataConfig
from recsys.data import input_error_if_unreadable
from recsys.errors import InputError
from recsys.memory import machine_memory

GIB = 1 << 30
PER_ROW = 76  # bytes that a row takes at most: 66 were measured with integers, 74 with short text as ids (docs/LOG.md)
INLINE = 12  # bytes of an id of text that Polars keeps in its column; a longer one lies elsewhere besides
FEW_ROWS, MOST_PER_ROW = 1 << 10, 1 << 10  # rows whose ids are looked at; bytes a row with which no look is needed
PROCESS = 1 << 29  # bytes of a process: libraries, buffers, the items
FIRST = 1 << 30  # bytes of the process that reads the log and unites the shards, where others work on them
SHARE, MOST_SHARDS = 8, 512  # while the log is read, every shard is an open file
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What memory allows.

    Attributes:
        shards: How many there are.
        bytes_per_row: How many bytes a row of a shard takes.
        memory: Bytes for all processes together.
        is_bound: Whether a shard that does not fit is refused. It is not if data.shards is set but data.memory is not.
    """

    shards: int
    bytes_per_row: float
    memory: int
    is_bound: bool

    def workers(self, wanted: int, num_rows: int) -> int:
        """How many shards are processed at once. num_rows: of the largest one.

        Raises:
            InputError: The largest one does not fit even alone.
        """
        shard = num_rows * self.bytes_per_row
        if self.is_bound and shard + PROCESS > self.memory:
            raise InputError(
                f"one shard has {num_rows:,} events, which take about {shard / GIB:.1f} GiB, but data.memory is "
                f"{self.memory / GIB:.1f}, and the events of a user are never divided; expected more memory or "
                "smaller shards: raise data.memory or data.shards, or remove users that are no people, such as robots"
            )
        fitting = max(1, int((self.memory - FIRST) / (shard + PROCESS)))
        wanted = min(wanted, self.shards)
        if fitting < wanted:
            logger.info("%d processes of %d at a time, so that data.memory suffices", fitting, wanted)
        return min(wanted, fitting)


def plan_shards(data: DataConfig, log: pl.LazyFrame, num_rows: int) -> Plan:
    """How many shards a log has: ``data.shards``, or as many as memory needs.

    Args:
        data: Says how much memory there is.
        log: Under our names.
        num_rows: Of all files of events.

    Raises:
        InputError: So little memory would need too many.
    """
    memory = max(GIB, machine_memory() // 3) if data.memory is None else int(data.memory * GIB)
    bytes_per_row = float(MOST_PER_ROW)
    if num_rows * bytes_per_row + PROCESS > memory:
        bytes_per_row = _bytes_per_row(log)
    shards, size = data.shards, num_rows * bytes_per_row
    if shards is None:
        parts = int(size * SHARE / memory) if size + PROCESS > memory else 0
        shards = 1 << parts.bit_length()
        if shards > MOST_SHARDS:
            least = size * SHARE / MOST_SHARDS
            raise InputError(
                f"data.memory is {memory / GIB:.1f} GiB; expected at least {least / GIB:.1f} for {num_rows:,} events: "
                "raise it"
            )
    return Plan(shards, bytes_per_row, memory, is_bound=data.shards is None or data.memory is not None)


def _bytes_per_row(log: pl.LazyFrame) -> float:
    with input_error_if_unreadable("the events"):
        ids = log.select("user_id", "item_id").head(FEW_ROWS).collect()
    total = float(PER_ROW)
    for column in ids.select(pl.col(pl.String)):
        lengths = column.str.len_bytes().drop_nulls()
        total += int(lengths.filter(lengths > INLINE).sum()) / max(1, len(lengths))
    return total
