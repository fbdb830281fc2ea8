"""Did a change make a stage slower? Small works beside a plain reference of the same run: `make bench-quick`.

    python -m benchmarks.speed.quick [--update]

Seconds of ours over those of the reference, the lowest of the rounds each, are compared with benchmarks/baseline.json:
a ratio depends far less on the machine than seconds do. A regression above 15% is a warning, no error. A busy machine
makes some; so run it again.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.speed.logs import make_log
from benchmarks.speed.race import ROOT, Contestant, agree, race

BASELINE = ROOT / "benchmarks" / "baseline.json"
ROUNDS, ALLOWED = 5, 1.15


def works(folder: Path) -> Iterator[tuple[str, str, dict[str, Any], float]]:
    """Row, the reference's function, its settings, and the tolerance between answers."""
    log, events = make_log(folder / "log.parquet", 1_000_000, ordered=False, strings=False), folder / "events.parquet"
    position = pl.int_range(pl.len()).over("user_id", order_by="timestamp")
    pl.read_parquet(log).select("user_id", "item_id", position=position).write_parquet(events)
    yield "feature job", "feature_job", {"log": str(log)}, 0.0
    yield "batches", "batches", {"events": str(events)}, 1e-6
    yield "evaluation", "metrics", {"num_users": 60_000, "num_items": 27_000}, 1e-6
    yield "batch scoring", "scoring", {"num_users": 500, "num_items": 100_000, "dim": 64}, 1e-5
    yield "one query", "query", {"num_items": 100_000}, 1e-3
    yield "training", "training_step", {"events": str(events), "num_tokens": 20_000}, 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the baseline instead of comparing with it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {work[0]: round(ratio(Path(folder), *work[1:]), 4) for work in works(Path(folder))}
    if given.update:
        BASELINE.write_text(json.dumps(found, indent=2) + "\n")
        sys.stdout.write(f"{BASELINE}: {found}\n")
        return
    before = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    for row, now in found.items():
        sys.stdout.write(line(row, now, before.get(row)))


def ratio(folder: Path, function: str, settings: dict[str, Any], tolerance: float) -> float:
    """Seconds of ours over the reference's, or of a token where they differ a little in tokens."""
    scratch = folder / "scratch" if function == "feature_job" else None
    own = {"num_members": 1} if function == "training_step" else {}
    contestants = (
        Contestant("ours", f"our_{function}", peer=False, settings=own),
        Contestant("reference", function, peer=False),
    )
    ours, reference = race("benchmarks.speed.references", contestants, rounds=ROUNDS, scratch=scratch, **settings)
    agree([ours, reference], tolerance=tolerance)
    tokens = [each.answers[0].get("figures", {}).get("tokens", 1) for each in (ours, reference)]
    return float(min(ours.seconds) / tokens[0] / (min(reference.seconds) / tokens[1]))


def line(row: str, now: float, before: float | None) -> str:
    """What to say of a row."""
    if before is None:
        return f"{row}: {now:.3f} of the reference; no baseline: run with --update\n"
    warning = "WARNING, slower: " if now > ALLOWED * before else ""
    return f"{warning}{row}: {now:.3f} of the reference, {now / before - 1:+.0%} against the baseline\n"


if __name__ == "__main__":
    main()
