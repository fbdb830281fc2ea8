"""Batch scoring: a log in, Parquet parts of recommendations out, in bounded memory and safe to kill at any moment.

    state.json                what is scored: bundle, inputs, settings; another --out is demanded for anything else
    part-00000.parquet        user_id, item_id, rank, score
    part-00000.reasons.ndjson user_id, count, reason: who got fewer than k, or a fallback, and why
    part-00000.json           counts; the part is finished
    manifest.json             state and totals, written last
    interim/                  the log, spread over the parts; gone when all is done

A part is a set of users chosen by a digest of their id. It is written whole or not at all, and what is there is never
written again: a second start goes on where the first ended.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import files
from recsys.data import (
    RECOMMENDATIONS,
    Jagged,
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
from recsys.results import Ranking
from recsys.retriever import Retriever

EVENTS_A_PART = 2_000_000
USERS_A_PART = 50_000
ROWS_AT_ONCE = 1_000_000  # events read, or recommendations held, at a time
FORMAT = 1


@dataclass(frozen=True)
class Users:
    """The users of one part: ids, histories in catalogue positions, and what happened to how many rows of the log."""

    user_ids: pl.Series
    history: Jagged
    counts: dict[str, int]


@dataclass(frozen=True)
class Source:
    """What is scored. item_type: of the input's item ids. parts: each a function that reads its users."""

    user_type: pl.DataType
    item_type: pl.DataType
    parts: Iterator[Callable[[], Users]]


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

    A log is taken whole, without a minimum count; queries' histories are scored as given. Ids have the input's types.
    Returns the totals of ``out/manifest.json``. Raises InputError on bad input, or where ``out`` holds something else.
    """
    if (events is None) == (queries is None):
        raise InputError("give either --events (a log) or --queries (user_id, history)")
    if k < 1:
        raise InputError(f"k is {k}; expected at least 1")
    location = str(events or queries)
    source = (_queries if queries else _log)(retriever, location, out / "interim")
    identity = {
        "format": FORMAT, "bundle_id": retriever.bundle_id, "metadata": retriever.metadata_digest, "k": k,
        "exclude_seen": exclude_seen, "input": "queries" if queries else "events", "digest": source_digest(location),
    }  # fmt: skip
    _claim(out, identity)
    if (out / "manifest.json").exists():
        shutil.rmtree(out / "interim", ignore_errors=True)
        return dict(files.read_json(out / "manifest.json")["totals"])
    totals: Counter[str] = Counter(users=0, recommendations=0, fallback=0, short=0)
    for number, part in enumerate(source.parts):
        path = out / f"part-{number:05d}"
        if not path.with_suffix(".json").exists():
            _write_part(retriever, part(), path, source, k=k, exclude_seen=exclude_seen)
        totals.update(files.read_json(path.with_suffix(".json")))
        say(f"part {number}: {totals['users']:,} users so far")
    files.write_json(out / "manifest.json", identity | {"totals": totals})
    shutil.rmtree(out / "interim", ignore_errors=True)
    return dict(totals)


def _claim(out: Path, identity: dict[str, Any]) -> None:
    """Write down what is scored into ``out``; raises InputError where it holds something else."""
    state = out / "state.json"
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; choose another --out")
    if state.exists():
        found = files.read_json(state)
        for key, value in identity.items():
            if found.get(key) != value:
                raise InputError(
                    f"{out} holds scores of another {key} ({found.get(key)}, now {value}); choose another --out"
                )
    elif out.exists() and any(not entry.name.startswith(".state.json.") for entry in out.iterdir()):
        raise InputError(f"{out} holds something else than scores; choose another --out")
    else:
        files.write_json(state, identity)


def _write_part(retriever: Retriever, users: Users, path: Path, source: Source, *, k: int, exclude_seen: bool) -> None:
    """Write a part's recommendations, reasons and, last, its counts; a bounded number of users at a time."""
    counts: Counter[str] = Counter(users.counts)
    width = min(k, retriever.bundle.encoder.num_items)
    step = max(1, ROWS_AT_ONCE // width)
    schema = {"user_id": source.user_type, "item_id": source.item_type} | RECOMMENDATIONS
    arrow = _as_arrow(pl.DataFrame(schema=schema)).schema
    with (
        files.replacing(path.with_suffix(".reasons.ndjson")) as reasons_path,
        files.replacing(path.with_suffix(".parquet")) as parquet_path,
        reasons_path.open("wb") as reasons_file,
        pq.ParquetWriter(parquet_path, arrow, compression="zstd") as writer,
    ):
        for start in range(0, len(users.user_ids), step):
            rows = np.arange(start, min(start + step, len(users.user_ids)))
            user_ids = users.user_ids.gather(rows).cast(source.user_type)
            ranking = retriever.rank(
                users.history.take(rows), retriever.user_rows(user_ids), k=width, exclude_seen=exclude_seen
            )
            writer.write_table(_as_arrow(_recommendations(retriever, user_ids, ranking, source.item_type)))
            reasons = pl.DataFrame([user_ids, pl.Series("count", ranking.counts), ranking.reasons(k)])
            reasons.drop_nulls("reason").write_ndjson(reasons_file)
            counts.update(
                users=len(rows),
                recommendations=int(ranking.counts.sum()),
                fallback=int(ranking.fallback.sum()),
                short=int((ranking.counts < k).sum()),
            )
    files.write_json(path.with_suffix(".json"), counts)


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


def _queries(retriever: Retriever, location: str, _: Path) -> Source:
    frame = scan_queries(location)
    schema = frame.collect_schema()
    known, inner = retriever.bundle.encoder.item_ids.dtype, schema["history"].inner  # type: ignore[attr-defined]
    with input_error_if_unreadable(f"queries at {location}"):
        ids = frame.select("user_id").collect().to_series()
    if not len(ids) or ids.null_count() or ids.n_unique() < len(ids):
        raise InputError(
            f"queries at {location}: {len(ids):,} rows, {ids.null_count():,} without a user_id, "
            f"{len(ids) - ids.n_unique():,} repeated; expected one row a user"
        )

    def read(start: int) -> Users:
        with input_error_if_unreadable(f"queries at {location}"):
            table = frame.slice(start, USERS_A_PART).collect()
        return Users(table["user_id"], encode_lists(retriever.bundle.encoder, table["history"]), {})

    parts = (partial(read, start) for start in range(0, len(ids), USERS_A_PART))
    return Source(schema["user_id"], known if inner == pl.Null else pl.Series([], dtype=inner).dtype, parts)


def _log(retriever: Retriever, location: str, interim: Path) -> Source:
    """Spread the log over as many files as keep one in memory, by a digest of the user id; then one part a file."""
    encoder = retriever.bundle.encoder
    log = scan_events(location, encoder.columns)
    schema = log.collect_schema()
    encoder.positions(pl.Series([], dtype=schema["item_id"]))
    retriever.user_rows(pl.Series([], dtype=schema["user_id"]))  # both: wrong id types are an error before all work
    with input_error_if_unreadable(f"events at {location}"):
        num_rows = log.select(pl.len()).collect().item()
        if not log.drop_nulls().drop_nans().head(1).collect().height:
            raise InputError(f"events at {location}: {num_rows:,} rows, none of them with a user, an item and a time")
    num_parts = -(-num_rows // EVENTS_A_PART)

    def read(number: int) -> Users:
        table = read_arrow(interim / f"{number:05d}.arrow")
        if not table.drop_nulls().drop_nans().height:
            counts = {"rows": table.height, "events": 0, "quarantined: no user, item or time": table.height}
            return Users(pl.Series("user_id", [], schema["user_id"]), Jagged.from_rows([]), counts)
        cleaned = clean_events(table.lazy())
        grouped = group_events(cleaned.log, cleaned.user_ids)
        positions = encoder.positions(cleaned.item_ids)[grouped.items.values]
        return Users(grouped.user_ids, Jagged(positions, grouped.items.offsets), cleaned.counts.to_json())

    def parts() -> Iterator[Callable[[], Users]]:
        if not interim.exists():
            with files.replacing(interim, directory=True) as folder:
                _spread(log, location, folder, num_parts)
        yield from (partial(read, number) for number in range(num_parts))

    return Source(schema["user_id"], schema["item_id"], parts())


def _spread(log: pl.LazyFrame, location: str, folder: Path, num_parts: int) -> None:
    schema = log.head(0).collect().to_arrow().schema
    writers = [pa.ipc.new_file(str(folder / f"{number:05d}.arrow"), schema) for number in range(num_parts)]
    for rows in _batches(log, location):
        numbers = shard_of(rows.get_column("user_id"), num_parts)
        for number, writer in enumerate(writers):
            writer.write_table(rows.filter(numbers == number).to_arrow().cast(schema))
    for writer in writers:
        writer.close()


def _batches(log: pl.LazyFrame, location: str) -> Iterator[pl.DataFrame]:
    with input_error_if_unreadable(f"events at {location}"):
        yield from log.collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=True)
