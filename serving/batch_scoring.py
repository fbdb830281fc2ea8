"""Batch scoring: a log in, Parquet files of recommendations out, in bounded memory and safe to kill at any moment.

    state.json                what is scored: bundle, inputs, settings; anything else needs another folder
    part-00000.parquet        user_id, item_id, rank, score
    part-00000.reasons.ndjson user_id, count, reason: who got fewer than k or a fallback, and why
    part-00000.json           counts; the partition is finished
    manifest.json             state and totals; written last
    interim/                  the log, partitioned by user; removed at the end

A partition is a set of users, chosen by a digest of their id. Its files are written whole or not at all and never
rewritten, so that a second start continues where the first one ended. The flags of ``recsys score`` are declared in
recsys/cli.py.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files
from recsys.data import (
    RECOMMENDATIONS,
    Jagged,
    LogCounts,
    clean_events,
    encode_lists,
    group_events,
    input_error_if_unreadable,
    read_arrow,
    scan_events,
    scan_queries,
    shard_of,
    source_digest,
)
from recsys.errors import InputError
from recsys.progress import stage, track
from recsys.results import Ranking
from recsys.retriever import Retriever

from .records import ScoreCounts, ScoreState, read_totals, write_manifest

EVENTS_PER_PARTITION = 2_000_000
USERS_PER_PARTITION = 50_000
ROWS_IN_MEMORY = 1_000_000  # events read, or recommendations held, at a time
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Partition:
    """The users of one partition: ids, histories in catalogue positions, and what happened to the rows of the log."""

    user_ids: pl.Series
    history: Jagged
    log: LogCounts | None = None


@dataclass(frozen=True)
class Source:
    """What is scored. prepare: called once before the first ``read``, which returns a partition by its number."""

    user_type: pl.DataType
    item_type: pl.DataType
    num_partitions: int
    prepare: Callable[[], None]
    read: Callable[[int], Partition]


def score(
    retriever: Retriever,
    out: Path,
    *,
    events: str | None = None,
    queries: str | None = None,
    k: int = 100,
    exclude_seen: bool = True,
) -> ScoreCounts:
    """Write ``out/part-*.parquet`` (user_id, item_id, rank, score) for every user of a log or of a queries file.

    Args:
        retriever: What answers.
        out: The folder to write; the same inputs continue in it.
        events: A log, read whole, without a minimum number of events per user. Either this or ``queries``.
        queries: Parquet of user_id and history, scored as they are.
        k: Recommendations per user.
        exclude_seen: Leave out the items of a user's history.

    Returns:
        The totals of ``out/manifest.json``. Ids in the files have the types of the input.

    Raises:
        InputError: Bad input, or ``out`` holds something else.
    """
    location = _location(events, queries)
    if k < 1:
        raise InputError(f"k is {k}; expected at least 1")
    with stage("read the queries" if queries else "read the log"):
        interim = out / "interim"
        source = _queries(retriever, location) if queries else _log(retriever, location, interim)
        state = ScoreState(
            bundle_id=retriever.bundle_id, metadata=retriever.metadata_digest, k=k, exclude_seen=exclude_seen,
            input="queries" if queries else "events", digest=source_digest(location),
        )  # fmt: skip
        state.claim(out)
        totals = read_totals(out)
        if totals is None:
            source.prepare()
    with stage("score"):
        if totals is None:
            totals = _write_partitions(retriever, out, source, k=k, exclude_seen=exclude_seen)
            write_manifest(out, state, totals)
        shutil.rmtree(interim, ignore_errors=True)
    return totals


def _location(events: str | None, queries: str | None) -> str:
    if (events is None) == (queries is None):
        raise InputError("give either --events (a log) or --queries (user_id, history)")
    return str(events or queries)


def _write_partitions(retriever: Retriever, out: Path, source: Source, *, k: int, exclude_seen: bool) -> ScoreCounts:
    totals = ScoreCounts()
    for number in range(source.num_partitions):
        path = out / f"part-{number:05d}"
        if not path.with_suffix(".json").exists():
            label = (
                "users" if source.num_partitions == 1 else f"users of partition {number + 1}/{source.num_partitions}"
            )
            _write_partition(retriever, source.read(number), path, source, label, k=k, exclude_seen=exclude_seen)
        totals += ScoreCounts.read(path.with_suffix(".json"))
        logger.info("%s users scored, %d of %d partitions", f"{totals.users:,}", number + 1, source.num_partitions)
    return totals


def _write_partition(
    retriever: Retriever,
    partition: Partition,
    path: Path,
    source: Source,
    label: str,
    *,
    k: int,
    exclude_seen: bool,
) -> None:
    """Write a partition's recommendations, reasons and, last, its counts, a bounded number of users at a time."""
    counts = ScoreCounts(log=partition.log)
    width = min(k, retriever.bundle.encoder.num_items)
    step = max(1, ROWS_IN_MEMORY // width)
    schema = {"user_id": source.user_type, "item_id": source.item_type} | RECOMMENDATIONS
    arrow = _as_arrow(pl.DataFrame(schema=schema)).schema
    with (
        files.replacing(path.with_suffix(".reasons.ndjson")) as reasons_path,
        files.replacing(path.with_suffix(".parquet")) as parquet_path,
        reasons_path.open("wb") as reasons_file,
        pq.ParquetWriter(parquet_path, arrow, compression="zstd") as writer,
    ):
        for start in track(range(0, len(partition.user_ids), step), label):
            rows = np.arange(start, min(start + step, len(partition.user_ids)))
            user_ids = partition.user_ids.gather(rows).cast(source.user_type)
            ranking = retriever.rank(
                partition.history.take(rows), retriever.user_rows(user_ids), k=width, exclude_seen=exclude_seen
            )
            writer.write_table(_as_arrow(_recommendations(retriever, user_ids, ranking, source.item_type)))
            reasons = pl.DataFrame([user_ids, pl.Series("count", ranking.counts), ranking.reasons(k)])
            reasons.drop_nulls("reason").write_ndjson(reasons_file)
            counts += ScoreCounts(
                users=len(rows),
                recommendations=int(ranking.counts.sum()),
                fallback=int(ranking.fallback.sum()),
                short=int((ranking.counts < k).sum()),
            )
    counts.write(path.with_suffix(".json"))


def _recommendations(
    retriever: Retriever, user_ids: pl.Series, ranking: Ranking, item_type: pl.DataType
) -> pl.DataFrame:
    present = ranking.positions > 0
    rank = np.broadcast_to(np.arange(1, present.shape[1] + 1, dtype=np.int32), present.shape)
    item_ids = retriever.bundle.encoder.ids(ranking.positions[present])
    with input_error_if_unreadable(f"item ids as {item_type}, their type in the input"):
        item_ids = item_ids.cast(item_type)
    return pl.DataFrame([
        user_ids.gather(np.repeat(np.arange(len(user_ids)), ranking.counts)).alias("user_id"),
        item_ids.alias("item_id"),
        pl.Series("rank", rank[present], dtype=RECOMMENDATIONS["rank"]),
        pl.Series("score", ranking.scores[present], dtype=RECOMMENDATIONS["score"]),
    ])  # fmt: skip


def _as_arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _queries(retriever: Retriever, location: str) -> Source:
    """A queries file, in partitions of consecutive rows."""
    frame = scan_queries(location, id_types=retriever.bundle.encoder.id_types)
    schema = frame.collect_schema()
    known, inner = retriever.bundle.encoder.item_ids.dtype, schema["history"].inner  # type: ignore[attr-defined]
    with input_error_if_unreadable(f"queries at {location}"):
        ids = frame.select("user_id").collect().to_series()
    if not len(ids) or ids.null_count() or ids.n_unique() < len(ids):
        raise InputError(
            f"queries at {location}: {len(ids):,} rows, {ids.null_count():,} without a user_id, "
            f"{len(ids) - ids.n_unique():,} repeated; expected one row a user"
        )

    def read(number: int) -> Partition:
        with input_error_if_unreadable(f"queries at {location}"):
            table = frame.slice(number * USERS_PER_PARTITION, USERS_PER_PARTITION).collect()
        return Partition(table["user_id"], encode_lists(retriever.bundle.encoder, table["history"]))

    item_type = known if inner == pl.Null else pl.Series([], dtype=inner).dtype
    return Source(schema["user_id"], item_type, -(-len(ids) // USERS_PER_PARTITION), lambda: None, read)


def _log(retriever: Retriever, location: str, interim: Path) -> Source:
    """A log, partitioned by a digest of the user id into as many files as let one of them fit in memory."""
    encoder = retriever.bundle.encoder
    log = scan_events(location, encoder.columns, id_types=encoder.id_types)
    schema = log.collect_schema()
    encoder.positions(pl.Series([], dtype=schema["item_id"]))  # refuses ids of another type before any work
    retriever.user_rows(pl.Series([], dtype=schema["user_id"]))  # likewise
    with input_error_if_unreadable(f"events at {location}"):
        num_rows = log.select(pl.len()).collect().item()
        if not log.drop_nulls().drop_nans().head(1).collect().height:
            raise InputError(f"events at {location}: {num_rows:,} rows, none of them with a user, an item and a time")
    num_partitions = -(-num_rows // EVENTS_PER_PARTITION)

    def read(number: int) -> Partition:
        table = read_arrow(interim / f"{number:05d}.arrow")
        if not table.drop_nulls().drop_nans().height:
            counts = LogCounts(rows=table.height, events=0, quarantined={"no user, item or time": table.height})
            return Partition(pl.Series("user_id", [], schema["user_id"]), Jagged.from_rows([]), counts)
        cleaned = clean_events(table.lazy())
        grouped = group_events(cleaned.log, cleaned.user_ids)
        positions = encoder.positions(cleaned.item_ids)[grouped.items.values]
        return Partition(grouped.user_ids, Jagged(positions, grouped.items.offsets), cleaned.counts)

    prepare = partial(_partition_log, log, location, interim, num_rows, num_partitions)
    return Source(schema["user_id"], schema["item_id"], num_partitions, prepare, read)


def _partition_log(log: pl.LazyFrame, location: str, interim: Path, num_rows: int, num_partitions: int) -> None:
    """Write every event to the file of its user's partition, unless a killed run has done so."""
    if interim.exists():
        return
    schema = log.head(0).collect().to_arrow().schema
    with files.replacing(interim, directory=True) as folder:
        writers = [pa.ipc.new_file(str(folder / f"{number:05d}.arrow"), schema) for number in range(num_partitions)]
        for rows in track(_batches(log, location), "events", -(-num_rows // ROWS_IN_MEMORY)):
            numbers = shard_of(rows.get_column("user_id"), num_partitions)
            for number, writer in enumerate(writers):
                writer.write_table(rows.filter(numbers == number).to_arrow().cast(schema))
        for writer in writers:
            writer.close()


def _batches(log: pl.LazyFrame, location: str) -> Iterator[pl.DataFrame]:
    with input_error_if_unreadable(f"events at {location}"):
        yield from log.collect_batches(chunk_size=ROWS_IN_MEMORY, maintain_order=True)
