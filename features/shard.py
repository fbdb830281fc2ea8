"""One shard of users: group and split its events, then encode them. A shard sees nothing of another.

A code stands for an id: its place among the sorted distinct ids of the log.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from recsys.config import Config
from recsys.data import (
    Int32,
    Int64,
    Jagged,
    SplitCounts,
    UserEvents,
    count_codes,
    group_events,
    read_arrow,
    shard_of,
    take_in_blocks,
    write_arrow,
)

from .split import Mask, Split, split_events

Part = pl.DataFrame | Path  # what one shard holds, in memory where it is the only one


@dataclass(frozen=True)
class FirstPass:
    """What the first pass over a shard leaves: its training histories, items by their codes, and what it counted.

    item_counts: [num distinct items] int64 training events.
    """

    training: Part
    item_counts: Int64
    counts: SplitCounts


def partition(log: pl.DataFrame, user_ids: pl.Series, folder: Path, num_shards: int) -> list[Part]:
    """A log of codes by shards: files in ``folder``, or the log itself. user_ids: what the users' codes stand for."""
    if num_shards == 1:
        return [log]
    shards = shard_of(user_ids, num_shards).gather(log.get_column("user_id"))
    paths = [folder / f"log-{shard:05d}.arrow" for shard in range(num_shards)]
    for shard, path in enumerate(paths):
        write_arrow(log.filter(shards == shard), path)
    return list(paths)


def group_shard(folder: Path, config: Config, num_items: int, shard: int, part: Part) -> FirstPass:
    """First pass over one shard of the log: group, split, write its queries."""
    log = _opened(part)
    grouped = group_events(log, read_arrow(folder / "interim" / "users.arrow").get_column("user_id"))
    split = split_events(config.split, grouped, min_user_events=config.data.min_user_events)
    with ThreadPoolExecutor(1) as beside:
        written = beside.submit(_write_queries, folder, shard, grouped, split)
        train = grouped.items.keep(split.train)
        times = _times(grouped, np.arange(len(train)), split.train, "until")
        table = pl.DataFrame([grouped.user_ids, train.to_series("positions"), *times])
        table = table if train.lengths.all() else table.filter(train.lengths > 0)
        written.result()
    training: Part = table
    if isinstance(part, Path):
        training = folder / "interim" / f"train-{shard:05d}.arrow"
        write_arrow(table, training)
    counts = SplitCounts(
        users=len(grouped.user_ids),
        users_with_few_events=split.num_few,
        training_events=len(train.values),
        validation_queries=len(split.validation.user_rows),
        test_queries=len(split.test.user_rows),
        equal_times=_equal_times(grouped),
    )
    return FirstPass(training, count_codes(train.values, num_items), counts)


def encode_shard(folder: Path, positions: Int32, shard: int, training: Part) -> None:
    """Second pass: item codes to catalogue positions; items without a row of their own are left out."""
    table = _opened(training)
    codes = Jagged.from_series(table.get_column("positions"))
    encoded = Jagged(take_in_blocks(positions, codes.values), codes.offsets)
    encoded = encoded.keep(encoded.values > 0)
    # users without a training event have no row: nobody can tell from train/ that they will come
    table = table.with_columns(encoded.to_series("positions")).filter(encoded.lengths > 0)
    write_arrow(table, folder / "train" / f"shard-{shard:05d}.arrow")


def _opened(part: Part) -> pl.DataFrame:
    """What a shard holds. Its file goes, but stays readable through what is mapped."""
    if isinstance(part, pl.DataFrame):
        return part
    table = read_arrow(part)
    part.unlink()
    return table


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
    among, some = {"since": first, "until": end - 1}, first < end
    times, found = grouped.log.get_column("time"), []
    for name in names:
        place = np.full(len(users), -1)
        place[some] = places[among[name][some]]
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
        write_arrow(table, folder / name / f"shard-{shard:05d}.arrow")


def _marked(items: Jagged, users: Int64, mask: Mask) -> Jagged:
    """What is marked of each of these users, who are in order; nothing is of another."""
    kept = items.keep(mask)
    return Jagged(kept.values, np.append(kept.offsets[users], len(kept.values)))


def _equal_times(grouped: UserEvents) -> int:
    """Events at the same time as the user's previous one; their order is the log's."""
    if "time" not in grouped.log.columns:
        return 0
    times = grouped.log.get_column("time")
    same = (times.head(-1) == times.slice(1)).to_numpy()
    return int((same & grouped.items.continues[1:]).sum())
