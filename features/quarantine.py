"""The rejected rows of all shards, put in the order of the log without being in memory together."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

STEP = 1 << 10  # a block has about so many rows, squared
ROW_GROUP = 122_880  # Polars' own choice for a smaller table


def write_quarantine(tables: Sequence[pl.DataFrame], path: Path, step: int = STEP) -> None:
    """Write the rejected rows of the log, then those of the test file, each in the order of its rows.

    Args:
        tables: Of each shard, in that order. Files that are mapped stay out of memory.
        path: A Parquet file, whose bytes depend on the rows alone.
        step: The square root of the number of rows in memory.
    """

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        for of_source in _by_source(tables):
            yield from _blocks(of_source, step)

    merged = register_io_source(read, schema=tables[0].schema)
    merged.sink_parquet(path, row_group_size=ROW_GROUP)


def _by_source(tables: Sequence[pl.DataFrame]) -> list[list[pl.DataFrame]]:
    if "source" not in tables[0].columns:
        return [list(tables)]
    num_events = [int((table.get_column("source") == "events").sum()) for table in tables]
    return [
        [table.head(count) for table, count in zip(tables, num_events, strict=True)],
        [table.slice(count) for table, count in zip(tables, num_events, strict=True)],
    ]


def _blocks(tables: Sequence[pl.DataFrame], step: int) -> Iterator[pl.DataFrame]:
    """Tables that are sorted by row, merged. Every step-th row of each tells where to cut all of them."""
    rows = [table.get_column("row").to_numpy() for table in tables]
    sample = np.sort(np.concatenate([numbers[::step] for numbers in rows]))
    ends = sample[step::step]
    cuts = [np.concatenate([[0], np.searchsorted(numbers, ends), [len(numbers)]]) for numbers in rows]
    for block in range(len(ends) + 1):
        slices = [table[int(cut[block]) : int(cut[block + 1])] for table, cut in zip(tables, cuts, strict=True)]
        yield pl.concat(slices).sort("row")
