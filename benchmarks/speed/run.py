"""The speed of every stage beside the tools that one would use instead, in one run: `make bench`.

    python -m benchmarks.speed.run --out DIR [--rows features scoring] [--works 1M] [--contestants ours] [--rounds 5]

Every contestant of a row runs in a fresh process, by turns; before a time is believed the answers must agree. Figures
are kept in DIR/results.jsonl, a line for each piece of work; RESULTS.md and RESULTS.svg show the latest of each
contestant. Those of benchmarks/RESULTS.md are in benchmarks/results.jsonl: --out benchmarks takes the place of some.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.speed import ceilings, evaluation, features, growth, plot, quality, query, scoring, table, training
from benchmarks.speed.logs import make_catalogue_log, make_log
from benchmarks.speed.race import ROOT, Contestant, Result, agree, race
from benchmarks.speed.setting import setting

LONG = 120.0  # seconds of a round; what takes longer has two only
DATA = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Work:
    """One piece of work of a row.

    tolerance: between the answers' numbers. limit: a ceiling, and how much of it, in G, the work takes at least.
    writes: its contestants are given a folder ``out``. prepare: makes what they read.
    """

    row: str
    label: str
    module: str
    contestants: tuple[Contestant, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0
    limit: tuple[str, float] | None = None
    writes: bool = False
    prepare: Callable[[], object] | None = None


def limits(out: Path, smoke: bool) -> Iterator[Work]:
    for dim in (64,) if smoke else (64, 128):
        yield Work("ceilings", product_of(dim), "ceilings", ceilings.PRODUCT, {"dim": dim})
    yield Work("ceilings", "copy", "ceilings", ceilings.COPY)


def product_of(dim: int) -> str:
    """The ceiling's name."""
    return f"product, {dim} dimensions"


def feature_jobs(out: Path, smoke: bool) -> Iterator[Work]:
    slow = {1: (), 25: ("rectools",), 100: ("rectools", "replay", "pandas")}  # they take many minutes
    for millions in (0.1,) if smoke else (1, 25, 100):
        for ordered, strings in ((False, True), (False, False), (True, True), (True, False)):
            kind = f"{'by time' if ordered else 'shuffled'}, {'string' if strings else 'integer'} ids"
            path = out / "logs" / f"{millions}m-{kind.replace(' ', '-').replace(',', '')}.parquet"
            events = int(millions * 1e6)
            yield Work(
                "feature job", f"{millions}M events, {kind}", "features",
                tuple(one for one in features.CONTESTANTS if one.function not in slow.get(millions, ())),
                {"log": str(path)},
                limit=("copy", features.BYTES * events / 1e9), writes=True,
                prepare=partial(make_log, path, events, ordered=ordered, strings=strings),
            )  # fmt: skip


def evaluations(out: Path, smoke: bool) -> Iterator[Work]:
    size = {"num_users": 2_000 if smoke else 138_000, "num_items": 27_000}
    yield Work("evaluation", "{num_users:,} users".format(**size), "evaluation", evaluation.CONTESTANTS, size, 1e-6)


def scorings(out: Path, smoke: bool) -> Iterator[Work]:
    sizes = [(1_000, 100_000, 64), (10_000, 100_000, 64), (10_000, 100_000, 128), (100_000, 100_000, 64)]
    sizes += [(1_000, 1_000_000, 64), (1_000, 1_000_000, 128)]
    for users, items, dim in [(500, 5_000, 64)] if smoke else sizes:
        size = {"num_users": users, "num_items": items, "dim": dim}
        label = f"{users:,} users, {items:,} items, {dim} dimensions"
        limit = product_of(dim), 2e-9 * users * items * dim
        yield Work("batch scoring", label, "scoring", scoring.CONTESTANTS, size, 1e-5, limit)


def queries(out: Path, smoke: bool) -> Iterator[Work]:
    sizes = ((10_000, 1), (100_000, 1), (100_000, 2), (1_000_000, 1))
    for items, members in ((5_000, 2),) if smoke else sizes:
        limit = "copy", 1e-9 * query.QUERIES * items * members * query.DIM * 4  # each reads all vectors
        label = f"{items:,} items, {'one member' if members == 1 else 'two members as by default'}"
        settings = {"num_items": items, "num_members": members}
        yield Work("one query", label, "query", query.CONTESTANTS, settings, 1e-3, limit)


def trainings(out: Path, smoke: bool) -> Iterator[Work]:
    settings = {"events": str(positions(out, smoke))}
    tokens = 10_000 if smoke else 200_000
    yield Work("batches", "one epoch", "training", training.BATCHES, settings, 1e-6)
    yield Work("training", f"{tokens:,} tokens", "training", training.TRAINING, settings | {"num_tokens": tokens})


def positions(out: Path, smoke: bool) -> Path:
    """ml-1m where it is there, else a log of its size, with the place in the history instead of a clock."""
    events = DATA / "ml-1m" / "events.parquet"
    if smoke or not events.exists():
        number, events = 20_000 if smoke else 1_000_000, out / "logs" / "positions.parquet"
        log = make_log(out / "logs" / f"positions-{number}.parquet", number, ordered=False, strings=False)
        position = pl.int_range(pl.len()).over("user_id", order_by="timestamp")
        pl.read_parquet(log).select("user_id", "item_id", position=position).write_parquet(events)
    return events


def whole_jobs(out: Path, smoke: bool) -> Iterator[Work]:
    """On the data sets that are there; in a smoke test, on a few of their users."""
    for name, max_history, members, epochs in (("ml-1m", 200, 1, 10), ("amazon-beauty", 50, 1, 12)):
        events, items = DATA / name / "events.parquet", DATA / name / "items.parquet"
        if not events.exists():
            sys.stdout.write(f"no {events}: {name} is left out\n")
            continue
        if smoke:
            log, events = pl.read_parquet(events), out / "logs" / f"{name}-few.parquet"
            events.parent.mkdir(parents=True, exist_ok=True)
            log.filter(pl.col("user_id").is_in(log["user_id"].unique().sort().head(300).implode())).write_parquet(
                events
            )
        settings = {
            "events": str(events), "config": str(ROOT / "examples" / f"{name}.toml"),
            "items": str(items) if name == "amazon-beauty" else None, "max_history": max_history,
            "epochs": 2 if smoke else None,
        }  # fmt: skip
        contestants = quality.contestants(members, 1 if smoke else epochs)
        yield Work("whole job", name, "quality", contestants, settings, writes=True)


def growths(out: Path, smoke: bool) -> Iterator[Work]:
    def of(stage: str, function: str, smallest: int, unit: str, **settings: Any) -> Work:
        return Work(
            "growth", stage, "growth", growth.contestants(function, smallest, unit), settings,
            writes=function in ("feature_job", "training_step"),
        )  # fmt: skip

    def by_catalogue(stage: str, function: str) -> Work:
        smallest = 1_000 if smoke else 10_000
        logs = {
            str(size): str(make_catalogue_log(out / "logs" / f"catalogue-{size}.parquet", size))
            for size in growth.sizes(smallest, 2 if smoke else 10)
        }
        contestants = growth.contestants(function, smallest, "items", 2 if smoke else 10)
        return Work("growth", f"{stage}, by catalogue", "growth", contestants, {"logs": logs}, writes=True)

    events = 2_500 if smoke else 250_000
    logs = {
        str(size): str(make_log(out / "logs" / f"growth-{size}.parquet", size, ordered=False, strings=True))
        for size in growth.sizes(events)
    }
    yield of("feature job", "feature_job", events, "events", logs=logs)
    settings = {"events": str(positions(out, smoke))}
    yield of("training step", "training_step", 256 if smoke else 1_024, "tokens a batch", **settings)
    yield of("exact index", "index_build", 1_000 if smoke else 62_500, "items", kind="exact")
    yield of("IVF index", "index_build", 1_000 if smoke else 62_500, "items", kind="ivf")
    yield of("HNSW index", "index_build", 100 if smoke else 1_000, "items", kind="hnsw")
    yield of("batch scoring", "batch_scoring", 20 if smoke else 500, "users", num_items=5_000 if smoke else 100_000)
    for kind in ("exact", "ivf"):
        contestants = growth.contestants("answers", 1_000 if smoke else 10_000, "items", 2 if smoke else 10)
        yield Work("growth", f"answers of {kind}, by catalogue", "growth", contestants, {"kind": kind})
    yield by_catalogue("training step", "catalogue_step")
    yield by_catalogue("batches", "catalogue_batches")
    yield by_catalogue("validation", "catalogue_validation")
    yield by_catalogue("checkpoint", "catalogue_checkpoint")


ROWS = {
    "ceilings": limits,
    "training": trainings,
    "features": feature_jobs,
    "evaluation": evaluations,
    "scoring": scorings,
    "query": queries,
    "growth": growths,
    "quality": whole_jobs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="all; shares need ceilings")
    parser.add_argument("--works", nargs="+", default=[""], help="only those whose label holds one of these")
    parser.add_argument("--contestants", nargs="+", default=[""], help="likewise, for what takes hours")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="small sizes: does everything run and agree?")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    results, where = given.out / "results.jsonl", setting()
    for row in given.rows:
        for work in ROWS[row](given.out, given.smoke):
            chosen = tuple(one for one in work.contestants if any(words in one.label for words in given.contestants))
            if not chosen or not any(words in work.label for words in given.works):
                continue
            sys.stdout.write(f"{work.row}: {work.label}\n")
            found = run(replace(work, contestants=chosen), given.rounds, given.out)
            agree(found, tolerance=work.tolerance)
            line = {"row": work.row, "work": work.label, "limit": work.limit, "setting": where}
            with results.open("a") as lines:
                lines.write(json.dumps(line | {"results": [asdict(result) for result in found]}) + "\n")
    latest = table.latest(json.loads(line) for line in results.read_text().splitlines())
    (given.out / "RESULTS.md").write_text(table.page(latest))
    plot.write(latest, given.out / "RESULTS.svg")
    sys.stdout.write(f"{given.out / 'RESULTS.md'}\n")


def run(work: Work, rounds: int, out: Path) -> list[Result]:
    """All rounds, or two where one takes long."""
    scratch = out / "scratch" if work.writes else None
    go = partial(race, f"benchmarks.speed.{work.module}", work.contestants, scratch=scratch, **work.settings)
    if work.prepare is not None:
        work.prepare()
    started = time.perf_counter()
    first = go(rounds=1)
    more = min(rounds, 2 if time.perf_counter() - started > LONG else rounds) - 1
    return [one + two for one, two in zip(first, go(rounds=more), strict=True)] if more else first


if __name__ == "__main__":
    main()
