"""One shard of users: group and split its events, then encode them. A shard sees nothing of another.

A code stands for an id: its place among the sorted distinct ids of the log.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from recsys.codes import Int32, Int64, shard_of
from recsys.config import Config
from recsys.dataset import read_table, write_table
from recsys.history import Jagged, UserEvents, group_events

from .split import Mask, Split, split_events

Part = pl.DataFrame | Path  # of the log: what one shard holds


@dataclass(frozen=True)
class ShardCounts:
    """What one shard adds to the whole. item_counts: [num distinct items] int64 training events."""

    item_counts: Int64
    statistics: dict[str, int]


def partition(log: pl.DataFrame, user_ids: pl.Series, folder: Path, num_shards: int) -> list[Part]:
    """A log of codes by shards: files in ``folder``, or the log itself. user_ids: what the users' codes stand for."""
    if num_shards == 1:
        return [log]
    shards = shard_of(user_ids, num_shards).gather(log.get_column("user_id"))
    paths = [folder / f"log-{shard:05d}.arrow" for shard in range(num_shards)]
    for shard, path in enumerate(paths):
        write_table(log.filter(shards == shard), path)
    return list(paths)


def group_shard(folder: Path, config: Config, num_items: int, shard: int, part: Part) -> ShardCounts:
    """First pass over one shard: group, split, write its queries and its training events, items by their codes."""
    log = part if isinstance(part, pl.DataFrame) else read_table(part)
    if isinstance(part, Path):
        part.unlink()
    grouped = group_events(log, read_table(folder / "interim" / "users.arrow").get_column("user_id"))
    split = split_events(config.split, grouped, min_user_events=config.data.min_user_events)
    with ThreadPoolExecutor(1) as beside:
        written = beside.submit(_write_queries, folder, shard, grouped, split)
        train = grouped.items.keep(split.train)
        times = _times(grouped, np.arange(len(train)), split.train, "until")
        histories = pl.DataFrame([grouped.user_ids, train.to_series("positions"), *times])
        write_table(histories.filter(train.lengths > 0), folder / "interim" / f"train-{shard:05d}.arrow")
        written.result()
    statistics = {
        "users": len(grouped.user_ids),
        "users_with_few_events": split.num_few,
        "training_events": len(train.values),
        "validation_queries": len(split.validation.user_rows),
        "test_queries": len(split.test.user_rows),
        "equal_times": _equal_times(grouped),
    }
    return ShardCounts(np.bincount(train.values, minlength=num_items), statistics)


def encode_shard(folder: Path, positions: Int32, shard: int) -> None:
    """Second pass: item codes to catalogue positions; items without a row of their own are left out."""
    source = folder / "interim" / f"train-{shard:05d}.arrow"
    target = folder / "train" / f"shard-{shard:05d}.arrow"
    table = read_table(source)
    codes = Jagged.from_series(table.get_column("positions"))
    encoded = Jagged(positions[codes.values], codes.offsets)
    encoded = encoded.keep(encoded.values > 0)
    # users without a training event have no row: nobody can tell from train/ that they will come
    write_table(table.with_columns(encoded.to_series("positions")).filter(encoded.lengths > 0), target)
    source.unlink()


def _times(grouped: UserEvents, users: Int64, mask: Mask, *names: Literal["since", "until"]) -> list[pl.Series]:
    """The times of the first ("since") and of the last ("until") marked event of each of these users; null for none.

    Without a clock there are none.
    """
    if "time" not in grouped.log.columns:
        return []
    starts, ends = grouped.items.offsets[users], grouped.items.offsets[users + 1]
    edges = mask.copy()  # the marked ones without a neighbour, or at an end of their user's
    edges[1:-1] &= ~(mask[:-2] & mask[2:])
    edges[starts], edges[ends - 1] = mask[starts], mask[ends - 1]
    places = np.flatnonzero(edges)
    first, end = np.searchsorted(places, starts), np.searchsorted(places, ends)
    some, times, found = first < end, grouped.log.get_column("time"), []
    for name, among in ((name, {"since": first, "until": end - 1}[name]) for name in names):
        place = np.full(len(users), -1)
        place[some] = places[among[some]]
        found.append(times.gather(pl.Series(place).replace(-1, None)).alias(name))
    return found


def _write_queries(folder: Path, shard: int, grouped: UserEvents, split: Split) -> None:
    for name, queries in (("validation", split.validation), ("test", split.test)):
        lists = [
            _marked(grouped.items, queries.user_rows, mask).to_series(column)
            for column, mask in (("history", queries.history), ("targets", queries.targets))
        ]
        times = _times(grouped, queries.user_rows, queries.targets, "since", "until")
        table = pl.DataFrame([grouped.user_ids.gather(queries.user_rows), *lists, *times])
        write_table(table, folder / name / f"shard-{shard:05d}.arrow")


def _marked(items: Jagged, users: Int64, mask: Mask) -> Jagged:
    """What is marked of each of these users, who are in order; nothing is of another."""
    kept = items.keep(mask)
    return Jagged(kept.values, np.append(kept.offsets[users], len(kept.values)))


def _equal_times(grouped: UserEvents) -> int:
    """Events at the same time as the user's previous one; their order is the log's."""
    if "time" not in grouped.log.columns:
        return 0
    times = grouped.log.get_column("time")
    same = (times == times.shift()).fill_null(False).to_numpy()
    return int((same & grouped.items.continues).sum())
