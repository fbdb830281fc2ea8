"""The speed of every stage beside the tools that one would use instead, in one run: `make bench`.

    python -m benchmarks.speed.run --out DIR [--rows features scoring] [--rounds 5] [--smoke]

Every contestant of a row runs in a fresh process, by turns; before a time is believed the answers must agree. Figures
are kept in DIR/results.jsonl, a line for each piece of work; RESULTS.md is written from all of them.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.speed import evaluation, features, query, scoring, training
from benchmarks.speed.logs import make_log
from benchmarks.speed.race import ROOT, Contestant, Result, agree, race

WRITERS = {"features"}  # rows whose contestants write files
LONG = 120.0  # seconds; what takes longer runs twice only


@dataclass(frozen=True)
class Work:
    """One piece of work of a row. tolerance: between the answers' numbers."""

    row: str
    label: str
    module: str
    contestants: tuple[Contestant, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0


def feature_jobs(out: Path, smoke: bool) -> Iterator[Work]:
    for millions in (0.1,) if smoke else (1, 25):
        for ordered, strings in ((False, True), (False, False), (True, True), (True, False)):
            kind = f"{'by time' if ordered else 'shuffled'}, {'string' if strings else 'integer'} ids"
            path = out / "logs" / f"{millions}m-{kind.replace(' ', '-').replace(',', '')}.parquet"
            log = make_log(path, int(millions * 1e6), ordered=ordered, strings=strings)
            yield Work(
                "feature job", f"{millions}M events, {kind}", "features", features.CONTESTANTS, {"log": str(log)}
            )


def evaluations(out: Path, smoke: bool) -> Iterator[Work]:
    size = {"num_users": 2_000 if smoke else 138_000, "num_items": 27_000}
    yield Work("evaluation", "{num_users:,} users".format(**size), "evaluation", evaluation.CONTESTANTS, size, 1e-6)


def scorings(out: Path, smoke: bool) -> Iterator[Work]:
    sizes = [(500, 5_000, 64)] if smoke else [(10_000, 100_000, 64), (10_000, 100_000, 128), (1_000, 1_000_000, 64)]
    for users, items, dim in sizes:
        size = {"num_users": users, "num_items": items, "dim": dim}
        label = f"{users:,} users, {items:,} items, {dim} dimensions"
        yield Work("batch scoring", label, "scoring", scoring.CONTESTANTS, size, 1e-5)


def queries(out: Path, smoke: bool) -> Iterator[Work]:
    for items in (5_000,) if smoke else (10_000, 100_000, 1_000_000):
        yield Work("one query", f"{items:,} items", "query", query.CONTESTANTS, {"num_items": items}, 1e-3)


def trainings(out: Path, smoke: bool) -> Iterator[Work]:
    """On ml-1m where it is there, else on a log of its size."""
    events = ROOT.parent / "shared" / "data" / "ml-1m" / "events.parquet"
    if smoke or not events.exists():
        made = make_log(
            out / "logs" / "positions-raw.parquet", 20_000 if smoke else 1_000_000, ordered=False, strings=False
        )
        events = out / "logs" / "positions.parquet"
        position = pl.int_range(pl.len()).over("user_id", order_by="timestamp")
        pl.read_parquet(made).select("user_id", "item_id", position=position).write_parquet(events)
    tokens = 10_000 if smoke else 200_000
    settings = {"events": str(events)}
    yield Work("batches", "one epoch", "training", training.BATCHES, settings)
    yield Work("training", f"{tokens:,} tokens", "training", training.TRAINING, settings | {"num_tokens": tokens})


ROWS = {
    "training": trainings,
    "features": feature_jobs,
    "evaluation": evaluations,
    "scoring": scorings,
    "query": queries,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="small sizes: does everything run and agree?")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for row in given.rows:
        for work in ROWS[row](given.out, given.smoke):
            sys.stdout.write(f"{work.row}: {work.label}\n")
            results = run(work, given.rounds, given.out)
            agree(results, tolerance=work.tolerance)
            with (given.out / "results.jsonl").open("a") as lines:
                found = {"row": work.row, "work": work.label, "results": [asdict(result) for result in results]}
                lines.write(json.dumps(found) + "\n")
    lines = [json.loads(line) for line in (given.out / "results.jsonl").read_text().splitlines()]
    (given.out / "RESULTS.md").write_text(table(lines))
    sys.stdout.write(f"{given.out / 'RESULTS.md'}\n")


def run(work: Work, rounds: int, out: Path) -> list[Result]:
    """All rounds, or two where one round takes long."""
    scratch = out / "scratch" if work.module in WRITERS else None
    go = partial(race, f"benchmarks.speed.{work.module}", work.contestants, scratch=scratch, **work.settings)
    first = go(rounds=1)
    more = 1 if max(result.median for result in first) > LONG else rounds - 1
    rest = go(rounds=more) if more else []
    return [
        Result(one.label, one.seconds + two.seconds, one.peak_mib + two.peak_mib, one.answer)
        for one, two in zip(first, rest, strict=True)
    ] if rest else first  # fmt: skip


def table(lines: list[dict[str, Any]]) -> str:
    """RESULTS.md: a table for each row; a later measurement of the same work takes the place of an earlier one."""
    latest = {(line["row"], line["work"]): line["results"] for line in lines}
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    parts = [
        "# Speed beside peers\n",
        f"`make bench` on {machine}. Medians (lowest to highest) of fresh processes that took turns.\n",
    ]
    for row in dict.fromkeys(row for row, _ in latest):
        parts.append(
            f"## {row}\n\n| work | contestant | seconds | ours is faster by | peak MiB | |\n|---|---|---|---|---|---|"
        )
        for (name, work), results in latest.items():
            if name != row:
                continue
            ours = statistics.median(results[0]["seconds"])
            for result in results:
                seconds = statistics.median(result["seconds"])
                figures = ", ".join(f"{key} {value:.2f}" for key, value in result["answer"].get("figures", {}).items())
                spread = f"{seconds:.3f} ({min(result['seconds']):.3f} to {max(result['seconds']):.3f})"
                peak = max(result["peak_mib"])
                parts.append(
                    f"| {work} | {result['label']} | {spread} | {seconds / ours:.1f}x | {peak:,.0f} | {figures} |"
                )
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
