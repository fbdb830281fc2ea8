"""One partition of what is scored: its files, each a pure function of the inputs, written whole or not at all."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files
from recsys.answers import Mask, Ranking
from recsys.data import RECOMMENDATIONS, input_error_if_unreadable
from recsys.progress import track
from recsys.retriever import Retriever

from .interim import read_partition
from .records import PartRecord, ScoreCounts, ScoreState, part_name
from .sources import Partition, users_of

ROWS_IN_MEMORY = 1_000_000  # recommendations held at a time


@dataclass(frozen=True)
class ScoreJob:
    """What all partitions have in common.

    Attributes:
        folder: Gets their files, and has their rows in ``interim``.
        state: What is scored.
        user_type, item_type: The types of ids in the files.
        num_partitions: How many there are.
    """

    folder: Path
    state: ScoreState
    user_type: pl.DataType
    item_type: pl.DataType
    num_partitions: int


def limited_to(retriever: Retriever, as_of: float | None, mask: Mask | None) -> Retriever:
    """The retriever without masked items and, with a time in seconds since 1970, as of that time."""
    return retriever.limited(clock=None if as_of is None else lambda: as_of, mask=mask)


def score_partition(retriever: Retriever, job: ScoreJob, number: int) -> PartRecord:
    """Write all files of a partition, its record last."""
    label = "users" if job.num_partitions == 1 else f"users of partition {number + 1}/{job.num_partitions}"
    part = job.folder / part_name(number)
    rows = read_partition(job.folder / "interim", number)
    partition = users_of(job.state.input, retriever.bundle.encoder, rows)
    record = PartRecord.of(part, _write_partition(retriever, job, partition, part, label), job.state)
    record.write(part)
    return record


def _write_partition(retriever: Retriever, job: ScoreJob, partition: Partition, part: Path, label: str) -> ScoreCounts:
    """Write a partition's recommendations and reasons, a bounded number of users at a time."""
    counts = ScoreCounts(log=partition.log)
    width = min(job.state.k, retriever.bundle.encoder.num_items)
    step = max(1, ROWS_IN_MEMORY // width)
    schema = {"user_id": job.user_type, "item_id": job.item_type} | RECOMMENDATIONS
    arrow = _as_arrow(pl.DataFrame(schema=schema)).schema
    with (
        files.replacing(part.with_suffix(".reasons.ndjson")) as reasons_path,
        files.replacing(part.with_suffix(".parquet")) as parquet_path,
        reasons_path.open("wb") as reasons_file,
        pq.ParquetWriter(parquet_path, arrow, compression="zstd") as writer,
    ):
        for start in track(range(0, len(partition.user_ids), step), label):
            rows = np.arange(start, min(start + step, len(partition.user_ids)))
            user_ids = partition.user_ids.gather(rows).cast(job.user_type)
            history, user_rows = partition.history.take(rows), retriever.user_rows(user_ids)
            ranking = retriever.rank(history, user_rows, k=width, exclude_seen=job.state.exclude_seen)
            writer.write_table(_as_arrow(_recommendations(retriever, user_ids, ranking, job.item_type)))
            reasons = pl.DataFrame([user_ids, pl.Series("count", ranking.counts), ranking.reasons(job.state.k)])
            reasons.drop_nulls("reason").write_ndjson(reasons_file)
            counts += ScoreCounts(
                users=len(rows),
                recommendations=int(ranking.counts.sum()),
                fallback=int(ranking.fallback.sum()),
                short=int((ranking.counts < job.state.k).sum()),
            )
    return counts


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
