"""One shard of users: group and split its events, then encode them. A shard sees nothing of another."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recsys.config import Config
from recsys.dataset import read_table, write_table
from recsys.history import Int32, Int64, Jagged, UserEvents, as_lists, group_events, rows_of, shard_of

from .split import Queries, split_events


@dataclass(frozen=True)
class ShardCounts:
    """What one shard adds to the whole. item_counts: [num distinct items] int64 training events."""

    item_counts: Int64
    statistics: dict[str, int]


def partition(log: pl.DataFrame, folder: Path, num_shards: int) -> None:
    """Write the log's rows of each shard to ``folder``."""
    shards = shard_of(log.get_column("user_id"), num_shards) if num_shards > 1 else None
    for shard in range(num_shards):
        rows = log.filter(shards == shard) if shards is not None else log
        write_table(rows, folder / f"log-{shard:05d}.arrow")


def group_shard(folder: Path, config: Config, item_ids: pl.Series, shard: int) -> ShardCounts:
    """First pass over one shard: group, split, write its queries and its training events in provisional item codes."""
    source = folder / "interim" / f"log-{shard:05d}.arrow"
    log = read_table(source)
    source.unlink()
    grouped = group_events(log)
    split = split_events(config.split, grouped, min_user_events=config.data.min_user_events)
    for name, queries in (("validation", split.validation), ("test", split.test)):
        _query_table(grouped, queries).write_parquet(folder / name / f"part-{shard:05d}.parquet")
    codes = rows_of(grouped.log.get_column("item_id"), item_ids)
    train = Jagged(codes[grouped.events.values], grouped.events.offsets).keep(split.train)
    _write_histories(folder / "interim" / f"train-{shard:05d}.arrow", grouped.user_ids, train)
    statistics = {
        "users": len(grouped.user_ids),
        "users_with_few_events": split.num_few,
        "training_events": len(train.values),
        "validation_queries": len(split.validation.user_rows),
        "test_queries": len(split.test.user_rows),
        "equal_times": _equal_times(grouped),
    }
    return ShardCounts(np.bincount(train.values, minlength=len(item_ids)), statistics)


def encode_shard(folder: Path, positions: Int32, shard: int) -> None:
    """Second pass: provisional item codes to catalogue positions; items without a row of their own are left out."""
    source = folder / "interim" / f"train-{shard:05d}.arrow"
    target = folder / "train" / f"shard-{shard:05d}.arrow"
    table = read_table(source)
    codes = Jagged.from_series(table.get_column("positions"))
    encoded = Jagged(positions[codes.values], codes.offsets)
    _write_histories(target, table.get_column("user_id"), encoded.keep(encoded.values > 0))
    source.unlink()


def _write_histories(path: Path, user_ids: pl.Series, histories: Jagged) -> None:
    """Users without a training event have no row: nobody can tell from train/ that they will come."""
    present = histories.lengths > 0
    rows = Jagged(histories.values, np.concatenate(([0], histories.offsets[1:][present])))
    write_table(pl.DataFrame([user_ids.filter(present), rows.to_series("positions")]), path)


def _query_table(grouped: UserEvents, queries: Queries) -> pl.DataFrame:
    items = grouped.log.get_column("item_id")
    lists = [
        as_lists(items.gather(grouped.events.values[places.values]), places.offsets, name)
        for name, places in (("history", queries.history), ("targets", queries.targets))
    ]
    return pl.DataFrame([grouped.user_ids.gather(queries.user_rows), *lists])


def _equal_times(grouped: UserEvents) -> int:
    """Events at the same time as the user's previous one; their order is the log's."""
    if "time" not in grouped.log.columns:
        return 0
    times = grouped.log.get_column("time").gather(grouped.events.values)
    same = (times == times.shift()).fill_null(False).to_numpy()
    return int((same & (np.diff(grouped.events.row_of_value, prepend=-1) == 0)).sum())
