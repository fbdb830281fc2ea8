"""What is scored: a log, queries or users, opened, divided into partitions, and copied while it is watched."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from recsys.data import (
    Encoder,
    Jagged,
    LogCounts,
    clean_events,
    encode_lists,
    group_events,
    id_columns,
    input_error_if_unreadable,
    require_unchanged,
    scan_events,
    scan_queries,
    scan_table,
    shard_of,
    source_digest,
    source_identities,
    without_blank_ids,
)
from recsys.errors import InputError
from recsys.progress import track
from recsys.retriever import Retriever

from .interim import file_name

EVENTS_PER_PARTITION = 2_000_000
USERS_PER_PARTITION = 50_000
EVENTS_IN_MEMORY = 1_000_000  # read at a time
ATTEMPTS = 3  # to read an input that is touched meanwhile


Role = Literal["events", "queries", "users"]


@dataclass(frozen=True)
class Partition:
    """The users of one partition: ids, histories in catalogue positions, and what happened to the rows of the log."""

    user_ids: pl.Series
    history: Jagged
    log: LogCounts | None = None


@dataclass(frozen=True)
class Source:
    """An input, opened but not read.

    Attributes:
        role, location: What and where it is.
        digest: Of its bytes, taken before anything else of it was read.
        user_type, item_type: The types of its ids.
        num_rows: How many rows it says that it has.
        num_partitions: Into how many its users are divided.
        rows_in_memory: How many rows are read at a time.
        table: Its rows.
        partition_of: The partition of each of some rows.
    """

    role: Role
    location: str
    digest: str
    user_type: pl.DataType
    item_type: pl.DataType
    num_rows: int
    num_partitions: int
    rows_in_memory: int
    table: pl.LazyFrame
    partition_of: Callable[[pl.DataFrame], pl.Series]

    def require_unchanged(self) -> None:
        """Raise InputError if the files are not what they were when the digest was taken."""
        require_unchanged(self.location, self.role, self.digest)

    def copy(self, folder: Path) -> list[int]:
        """Write the rows of each partition to its file in ``folder``; return how many each has.

        Raises:
            InputError: The input cannot be read, or changed meanwhile.
        """
        for _ in range(ATTEMPTS):
            before = source_identities(self.location, self.role)
            rows = self._copy(folder)
            self.require_unchanged()
            if sum(rows) != self.num_rows:  # a panic in a thread of Polars ends the batches as if they were all
                raise InputError(
                    f"{self.role} at {self.location}: {sum(rows):,} of {self.num_rows:,} rows could be read; "
                    "expected files at rest: run again when they are complete"
                )
            if source_identities(self.location, self.role) == before:
                return rows
        raise InputError(f"{self.role} at {self.location} is touched all the time; expected files at rest: copy them")

    def _copy(self, folder: Path) -> list[int]:
        with input_error_if_unreadable(f"{self.role} at {self.location}"):
            schema = self.table.head(0).collect().to_arrow().schema
        writers = [pa.ipc.new_file(str(folder / file_name(number)), schema) for number in range(self.num_partitions)]
        rows = [0] * self.num_partitions
        for batch in track(self._batches(), self.role, -(-self.num_rows // self.rows_in_memory)):
            numbers = self.partition_of(batch)
            for number, writer in enumerate(writers):
                chosen = batch.filter(numbers == number)
                rows[number] += chosen.height
                writer.write_table(chosen.to_arrow().cast(schema))
        for writer in writers:
            writer.close()
        return rows

    def _batches(self) -> Iterator[pl.DataFrame]:
        with input_error_if_unreadable(f"{self.role} at {self.location}"):
            yield from self.table.collect_batches(chunk_size=self.rows_in_memory, maintain_order=True)


def open_queries(retriever: Retriever, location: str) -> Source:
    """Open a file of queries, in partitions of consecutive rows.

    Raises:
        InputError: It cannot be read, or does not have one row a user.
    """
    digest = source_digest(location, "queries")
    frame = scan_queries(location, id_types=retriever.bundle.encoder.id_types)
    with input_error_if_unreadable(f"queries at {location}"):
        schema = frame.collect_schema()
        ids = frame.select("user_id").collect().to_series()
    if not len(ids) or ids.null_count() or ids.n_unique() < len(ids):
        require_unchanged(location, "queries", digest)
        raise InputError(
            f"queries at {location}: {len(ids):,} rows, {ids.null_count():,} without a user_id, "
            f"{len(ids) - ids.n_unique():,} repeated; expected one row a user"
        )
    encoder, inner = retriever.bundle.encoder, schema["history"].inner  # type: ignore[attr-defined]
    item_type = encoder.item_ids.dtype if inner == pl.Null else pl.Series([], dtype=inner).dtype
    encoder.positions(pl.Series([], dtype=item_type))  # refuses ids of another type before any work
    return Source(
        role="queries", location=location, digest=digest, user_type=schema["user_id"], item_type=item_type,
        num_rows=len(ids), num_partitions=-(-len(ids) // USERS_PER_PARTITION), rows_in_memory=USERS_PER_PARTITION,
        table=frame.with_row_index("row"),
        partition_of=lambda rows: rows.get_column("row") // USERS_PER_PARTITION,
    )  # fmt: skip


def open_users(retriever: Retriever, location: str) -> Source:
    """Open a file of users, who have no history, in partitions of consecutive rows. The first row of an id counts.

    Raises:
        InputError: It cannot be read, has no user, or ids of another type than the bundle's.
    """
    encoder, digest = retriever.bundle.encoder, source_digest(location, "users")
    column = encoder.columns["user_id"] or "user_id"
    opened = scan_table(location, "users", [column])
    text_types = encoder.id_types if opened.is_text else None
    with input_error_if_unreadable(f"users at {location}"):
        ids = opened.frame.select(
            id_columns(opened.frame, {"user_id": column}, f"users at {location}", text_types=text_types)
        )
        table = ids.drop_nulls().unique(keep="first", maintain_order=True)
        user_type, num_rows = table.collect_schema()["user_id"], table.select(pl.len()).collect().item()
    retriever.user_rows(pl.Series([], dtype=user_type))  # refuses ids of another type before any work
    if not num_rows:
        raise InputError(f"users at {location}: no row has a user_id; expected one row a user")
    return Source(
        role="users", location=location, digest=digest, user_type=user_type, item_type=encoder.item_ids.dtype,
        num_rows=num_rows, num_partitions=-(-num_rows // USERS_PER_PARTITION), rows_in_memory=USERS_PER_PARTITION,
        table=table.with_row_index("row"),
        partition_of=lambda rows: rows.get_column("row") // USERS_PER_PARTITION,
    )  # fmt: skip


def open_log(retriever: Retriever, location: str) -> Source:
    """Open a log, divided by a digest of the user id into as many partitions as let one of them fit in memory.

    Raises:
        InputError: It cannot be read, its ids are of another type than the bundle's, or it has no event.
    """
    encoder, digest = retriever.bundle.encoder, source_digest(location, "events")
    log = without_blank_ids(scan_events(location, encoder.columns, id_types=encoder.id_types))
    with input_error_if_unreadable(f"events at {location}"):
        schema = log.collect_schema()
    encoder.positions(pl.Series([], dtype=schema["item_id"]))  # refuses ids of another type before any work
    retriever.user_rows(pl.Series([], dtype=schema["user_id"]))  # likewise
    with input_error_if_unreadable(f"events at {location}"):
        num_rows = log.select(pl.len()).collect().item()
        if not log.drop_nulls().drop_nans().head(1).collect().height:
            require_unchanged(location, "events", digest)
            raise InputError(f"events at {location}: {num_rows:,} rows, none of them with a user, an item and a time")
    num_partitions = -(-num_rows // EVENTS_PER_PARTITION)
    return Source(
        role="events", location=location, digest=digest, user_type=schema["user_id"], item_type=schema["item_id"],
        num_rows=num_rows, num_partitions=num_partitions, rows_in_memory=EVENTS_IN_MEMORY, table=log,
        partition_of=lambda rows: shard_of(rows.get_column("user_id"), num_partitions),
    )  # fmt: skip


def users_of(role: Role, encoder: Encoder, rows: pl.DataFrame) -> Partition:
    """The users of a partition, from its rows."""
    if role == "events":
        return _users_of_events(encoder, rows)
    users = rows.get_column("user_id")
    if role == "users":
        return Partition(users, Jagged(np.empty(0, np.int32), np.zeros(rows.height + 1, np.int64)))
    return Partition(users, encode_lists(encoder, rows.get_column("history")))


def _users_of_events(encoder: Encoder, events: pl.DataFrame) -> Partition:
    if not events.drop_nulls().drop_nans().height:
        counts = LogCounts(rows=events.height, events=0, quarantined={"no user, item or time": events.height})
        return Partition(events.get_column("user_id").clear(), Jagged.from_rows([]), counts)
    cleaned = clean_events(events.lazy())
    grouped = group_events(cleaned.log, cleaned.user_ids)
    positions = encoder.positions(cleaned.item_ids)[grouped.items.values]
    return Partition(grouped.user_ids, Jagged(positions, grouped.items.offsets), cleaned.counts)
