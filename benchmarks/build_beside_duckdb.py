"""The feature job beside DuckDB on the same log, with the same memory limit and two threads each, in turns.

    python -m benchmarks.build_beside_duckdb --scratch FOLDER --events 100000000 --memory 2

Both read a folder of Parquet files (``make_logs`` of build_memory.py), find the times at 70% and 85% of the events, and
write every user's items as codes in the order of time: those of training, and history and target of the last event in
the validation and in the test window. Ours does more: it rejects bad and repeated rows, breaks ties of time by the row,
and checks that no input comes after its label. Peak memory and disk are those of process_tree.py.
"""

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

from benchmarks.build_memory import make_logs
from benchmarks.process_tree import Measured, measure

CUTS = {"val_start": "70%", "test_start": "85%"}
GIB = 1 << 30

CONNECT = """
SET memory_limit = '{memory}GiB'; SET threads = 2; SET max_temp_directory_size = '{disk}GiB';
SET preserve_insertion_order = false;
SET temp_directory = '{out}/tmp';
SET VARIABLE bin = {num_events} // 40000;
CREATE VIEW log AS SELECT * FROM '{log}/*.parquet';
"""
ITEMS = """
CREATE TABLE items AS
SELECT item_id, (row_number() OVER (ORDER BY item_id) - 1)::INTEGER AS item FROM (SELECT DISTINCT item_id FROM log);
"""
CUT = """
WITH bins AS (SELECT timestamp // getvariable('bin') AS bin, count(*) AS n FROM log GROUP BY 1),
ends AS (SELECT bin, sum(n) OVER (ORDER BY bin) AS above, above - n AS below FROM bins),
the_bin AS (SELECT bin, below FROM ends WHERE below <= {rank} AND {rank} < above)
SELECT timestamp FROM log, the_bin WHERE timestamp // getvariable('bin') = the_bin.bin ORDER BY timestamp
LIMIT 1 OFFSET (SELECT {rank} - below FROM the_bin)
"""
HISTORIES = """
COPY (
    WITH histories AS (
        SELECT user_id, list(item ORDER BY timestamp) AS items, count(*) FILTER (timestamp < {val}) AS n_train,
               count(*) FILTER (timestamp < {test}) AS n_val, count(*) AS n
        FROM {log} JOIN items USING (item_id) {where} GROUP BY user_id
    )
    SELECT user_id, items[:n_train] AS train,
           CASE WHEN n_val > greatest(n_train, 2) THEN items[:n_val - 1] END AS validation_history,
           CASE WHEN n_val > greatest(n_train, 2) THEN items[n_val] END AS validation_target,
           CASE WHEN n > greatest(n_val, 2) THEN items[:n - 1] END AS test_history,
           CASE WHEN n > greatest(n_val, 2) THEN items[n] END AS test_target
    FROM histories
) TO '{out}/histories-{part:05d}.parquet';
"""
PARTITION = """
COPY (SELECT *, hash(user_id) % {parts} AS part FROM log) TO '{out}/parts' (FORMAT parquet, PARTITION_BY (part));
"""
COUNTS = """
SELECT sum(len(train)), count(validation_target), count(test_target), sum(len(validation_history)),
       sum(len(test_history))
FROM '{out}/histories-*.parquet'
"""


def with_duckdb(log: Path, num_events: int, memory: float, parts: int, out: Path) -> list[int]:
    """Write the histories with one query, or with one for each of several parts of the users."""
    import duckdb

    out.mkdir()
    connection = duckdb.connect(str(out / "database"))
    disk = int(shutil.disk_usage(out).free / GIB * 0.8)  # others need some, too
    names = {"log": log, "memory": memory, "out": out, "num_events": num_events, "parts": parts, "disk": disk}
    connection.execute(CONNECT.format(**names))
    connection.execute(ITEMS)
    ranks = [int(num_events * float(cut[:-1]) / 100) for cut in CUTS.values()]
    val, test = (connection.execute(CUT.format(rank=rank)).fetchone()[0] for rank in ranks)
    cuts = {"val": val, "test": test}
    if parts == 1:
        connection.execute(HISTORIES.format(**names | {"log": "log"}, **cuts, where="", part=0))
    else:
        connection.execute(PARTITION.format(**names))
        for part in range(parts):
            table = f"'{out}/parts/part={part}/*.parquet'"
            connection.execute(HISTORIES.format(**names | {"log": table}, **cuts, where="", part=part))
            shutil.rmtree(out / "parts" / f"part={part}")
    return list(connection.execute(COUNTS.format(**names)).fetchone())


def with_ours(log: Path, memory: float, workers: int, out: Path) -> list[int]:
    """Build the dataset."""
    from features.build import build
    from recsys.config import parse_config

    data = {"events": str(log), "time": "timestamp", "memory": memory}
    build(parse_config({"data": data, "split": {"kind": "temporal", **CUTS}}, "benchmark"), out, workers=workers)
    return []


def counts_of(out: Path) -> list[int]:
    """What a dataset holds, as ``COUNTS`` tells of the other's files."""
    import polars as pl

    statistics_ = json.loads((out / "manifest.json").read_text())["statistics"]
    histories = [
        pl.scan_ipc(str(out / part / "*.arrow")).select(pl.col("history").list.len().cast(pl.Int64).sum())
        for part in ("validation", "test")
    ]
    lengths = [history.collect(engine="streaming").item() for history in histories]
    return [statistics_[name] for name in ("training_events", "validation_queries", "test_queries")] + lengths


def run_once(contestant: str, options: argparse.Namespace, log: Path) -> Measured:
    """One job in processes of its own, whose output is deleted."""
    work = options.scratch / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    out = work / "out"
    settings = ["--events", options.events, "--memory", options.memory, "--parts", options.parts]
    command = [sys.executable, "-m", "benchmarks.build_beside_duckdb", "--scratch", out, "--contestant", contestant]
    measured = measure([*map(str, [*command, "--log", log, "--workers", options.workers, *settings])], work)
    if measured.code == 0:
        counts = counts_of(out) if contestant == "ours" else measured.output.splitlines()[-1]
        print(f"{contestant} wrote {counts} events, queries and events of histories")
    shutil.rmtree(work)
    return measured


def main() -> None:
    """Print a line for each run, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="a folder for the log and what is written")
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--memory", type=float, default=2.0, help="GiB that each may take")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of ours")
    parser.add_argument("--parts", type=int, default=1, help="into which DuckDB divides the users first")
    parser.add_argument("--only", choices=["ours", "duckdb"], help="run one of them")
    parser.add_argument("--contestant", choices=["ours", "duckdb"], help="internal: do the job")
    parser.add_argument("--log", type=Path, help="internal: the log")
    options = parser.parse_args()
    if options.contestant == "duckdb":
        print(with_duckdb(options.log, options.events, options.memory, options.parts, options.scratch))
        return
    if options.contestant == "ours":
        with_ours(options.log, options.memory, options.workers, options.scratch)
        return
    options.scratch.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(options.scratch).free / GIB
    log = make_logs(options.scratch / f"log-{options.events}", options.events)
    size = sum(file.stat().st_size for file in log.iterdir()) / GIB
    print(f"{options.events:,} events in {len(list(log.iterdir()))} files of {size:.1f} GiB; {free:.0f} GiB free")
    contestants = [options.only] if options.only else ["ours", "duckdb"]
    runs: dict[str, list[Measured]] = {name: [] for name in contestants}
    print("| | wall s | CPU s | resident MiB | anonymous MiB | disk MiB |\n|---|---|---|---|---|---|", flush=True)
    for turn in range(options.turns):
        for name in contestants if turn % 2 == 0 else contestants[::-1]:
            run = run_once(name, options, log)
            if run.code:
                print(f"| {name} | failed with {run.code}: {run.output.strip().splitlines()[-1]} |", flush=True)
                continue
            runs[name].append(run)
            figures = (run.wall, run.cpu, run.resident, run.anonymous, run.disk)
            print(f"| {name} | {' | '.join(f'{figure:,.1f}' for figure in figures)} |", flush=True)
    if all(runs.values()) and not options.only:
        for figure in ("wall", "cpu"):
            medians = {name: statistics.median(getattr(run, figure) for run in of) for name, of in runs.items()}
            print(f"{figure}: DuckDB takes {medians['duckdb'] / medians['ours']:.2f} times ours")


if __name__ == "__main__":
    main()
