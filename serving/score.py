"""Batch scoring: a log in, Parquet parts of recommendations out, in bounded memory and safe to kill at any moment.

A part is a set of users chosen by a digest of their id. A part is written whole or not at all, and what is there is
never written again: a second start goes on where the first ended.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from recsys import files
from recsys.dataset import encode_lists, read_table
from recsys.events import clean, scan_events
from recsys.history import Jagged, group_events, shard_of
from recsys.retriever import FALLBACK, Retriever
from recsys.schema import RECOMMENDATIONS, require_columns, scan, source_files

EVENTS_A_PART = 2_000_000
USERS_A_PART = 50_000
ROWS_AT_ONCE = 1_000_000
FORMAT = 1


@dataclass(frozen=True)
class Users:
    """The users of one part: ids, and histories in catalogue positions."""

    user_ids: pl.Series
    history: Jagged


def score(
    retriever: Retriever,
    out: Path,
    *,
    events: str | None = None,
    queries: str | None = None,
    k: int = 100,
    exclude_seen: bool = True,
    say: Callable[[str], None] = print,
) -> dict[str, int]:
    """Write ``out/part-*.parquet`` (user_id, item_id, rank, score) for every user of a log, or of a queries file.

    A log is taken whole, without a minimum count; queries' histories are scored as given. ``out/manifest.json``,
    written last, counts users, short answers and fallbacks. Raises ValueError where ``out`` holds something else.
    """
    if (events is None) == (queries is None):
        raise ValueError("give either --events (a log) or --queries (user_id, history)")
    source = str(events or queries)
    identity = {
        "format": FORMAT, "bundle_id": retriever.bundle_id, "k": k, "exclude_seen": exclude_seen,
        "inputs": files.digest([files.sha256(path) for path in source_files(source)]),
    }  # fmt: skip
    state = out / "state.json"
    if out.exists() and any(out.iterdir()) and (not state.exists() or files.read_json(state) != identity):
        raise ValueError(f"{out} holds something else than the scores of these inputs; choose another --out")
    files.write_json(state, identity)
    parts = _parts_of_queries(retriever, source) if queries else _parts_of_log(retriever, source, out / "interim")
    totals = {"users": 0, "fallback": 0, "short": 0, "recommendations": 0}
    for number, part in enumerate(parts):
        target, counts_path = out / f"part-{number:05d}.parquet", out / f"part-{number:05d}.json"
        if not counts_path.exists():
            counts = _write_part(retriever, part(), target, k=k, exclude_seen=exclude_seen)
            files.write_json(counts_path, counts)
        for key, count in files.read_json(counts_path).items():
            totals[key] += count
        say(f"part {number}: {totals['users']:,} users so far")
    shutil.rmtree(out / "interim", ignore_errors=True)
    reasons = {"fallback": FALLBACK, "short": "fewer than k eligible items"}
    files.write_json(out / "manifest.json", identity | {"totals": totals, "reasons": reasons})
    return totals


def _write_part(retriever: Retriever, users: Users, target: Path, *, k: int, exclude_seen: bool) -> dict[str, int]:
    ranking = retriever.rank(users.history, retriever.user_rows(users.user_ids), k=k, exclude_seen=exclude_seen)
    counts, present = ranking.counts, ranking.positions > 0
    row = np.repeat(np.arange(len(counts)), counts)
    frame = pl.DataFrame([
        users.user_ids.gather(row).alias("user_id"),
        retriever.bundle.encoder.ids(ranking.positions[present]).alias("item_id"),
        pl.Series("rank", np.broadcast_to(np.arange(1, k + 1), present.shape)[present], dtype=RECOMMENDATIONS["rank"]),
        pl.Series("score", ranking.scores[present], dtype=RECOMMENDATIONS["score"]),
    ])  # fmt: skip
    with files.replacing(target) as temporary:
        frame.write_parquet(temporary)
    return {
        "users": len(counts),
        "fallback": int(ranking.fallback.sum()),
        "short": int((counts < k).sum()),
        "recommendations": int(counts.sum()),
    }


def _parts_of_queries(retriever: Retriever, location: str) -> Iterator[Callable[[], Users]]:
    frame = scan(location, "queries")
    require_columns(frame, ["user_id", "history"], "queries", location)
    num_rows = frame.select(pl.len()).collect().item()
    for start in range(0, num_rows, USERS_A_PART):
        rows = frame.slice(start, USERS_A_PART).select("user_id", "history")

        def part(rows: pl.LazyFrame = rows) -> Users:
            table = rows.collect()
            return Users(
                table.get_column("user_id"), encode_lists(retriever.bundle.encoder, table.get_column("history"))
            )

        yield part


def _parts_of_log(retriever: Retriever, location: str, interim: Path) -> Iterator[Callable[[], Users]]:
    """Spread the log over as many files as keep one in memory, by a digest of the user id; then one part a file."""
    log = scan_events(location, retriever.bundle.encoder.columns)
    num_parts = -(-log.select(pl.len()).collect().item() // EVENTS_A_PART) or 1
    if not interim.exists():
        with files.replacing(interim, directory=True) as folder:
            _spread(log, folder, num_parts)
    for number in range(num_parts):

        def part(number: int = number) -> Users:
            grouped = group_events(clean(read_table(interim / f"{number:05d}.arrow").lazy()).log)
            items = grouped.log.get_column("item_id").gather(grouped.events.values)
            positions = retriever.bundle.encoder.positions(items)
            return Users(grouped.user_ids, Jagged(positions, grouped.events.offsets))

        yield part


def _spread(log: pl.LazyFrame, interim: Path, num_parts: int) -> None:
    schema = log.head(0).collect().to_arrow().schema
    writers = [pa.ipc.new_file(str(interim / f"{number:05d}.arrow"), schema) for number in range(num_parts)]
    for rows in log.collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=True):
        numbers = shard_of(rows.get_column("user_id"), num_parts)
        for number, writer in enumerate(writers):
            writer.write_table(rows.filter(numbers == number).to_arrow().cast(schema))
    for writer in writers:
        writer.close()
