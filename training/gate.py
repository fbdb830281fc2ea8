"""Promotion: a gate, not a click. Challenger against champion on the same held-out queries, and back again."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recsys import files, metrics
from recsys.bundle import load_bundle
from recsys.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version
from recsys.retriever import Retriever

from . import evaluate

MARGIN = 0.02  # how much of the champion's score a challenger may lack at the interval's lower end
DECISION_TAG = "recsys.gate"


@dataclass(frozen=True)
class Check:
    """One demand. difference: the challenger's mean advantage with its 95% interval; it passes above the limit."""

    name: str
    low: float
    mean: float
    high: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether even the interval's lower end is above the limit."""
        return self.low > self.limit


@dataclass(frozen=True)
class Decision:
    """What the gate found, and why."""

    name: str
    challenger: int
    champion: int | None
    num_queries: int
    checks: tuple[Check, ...]

    @property
    def promoted(self) -> bool:
        """All demands are met."""
        return all(check.passed for check in self.checks)

    def lines(self) -> list[str]:
        """The decision as a person reads it."""
        rows = [
            f"{'pass' if check.passed else 'FAIL'}  {check.name}: {evaluate.HEADLINE} {check.mean:+.4f} "
            f"[{check.low:+.4f}, {check.high:+.4f}], must stay above {check.limit:+.4f}"
            for check in self.checks
        ]
        verdict = "passed" if self.promoted else "refused"
        return [f"{self.name} version {self.challenger} on {self.num_queries:,} held-out queries", *rows, verdict]


def promote(
    name: str,
    *,
    number: int | None = None,
    dry_run: bool = False,
    registry_uri: str | None = None,
    say: Callable[[str], None] = print,
) -> Decision:
    """Judge a version (default: the challenger) and, if it passes, make it champion and the champion ``previous``.

    The first version must beat popularity and item-kNN on its held-out queries; every later one must moreover not be
    worse than the champion on the same queries, each through its own index. Repeating a promotion changes nothing.
    """
    registry = Registry(registry_uri)
    challenger = registry.numbered(name, number) if number is not None else registry.version(name, CHALLENGER)
    if challenger is None:
        raise ValueError(f"{name!r} has no challenger in {registry.uri}; publish a model first, or give --version")
    champion = registry.version(name, CHAMPION)
    if champion is not None and champion.number == challenger.number:
        say(f"{name} version {champion.number} is champion already")
        if not dry_run:
            _retire_challenger(registry, champion)  # a promotion that was killed may have left it
        return Decision(name, challenger.number, champion.number, 0, ())
    decision = judge(registry, challenger, champion)
    for line in decision.lines():
        say(line)
    if dry_run:
        return decision
    record(registry, challenger, decision)
    if decision.promoted:
        crown(registry, challenger, champion)
        say(f"{name} version {challenger.number} is now champion")
    return decision


def judge(registry: Registry, challenger: Version, champion: Version | None) -> Decision:
    """Run the checks; writes nothing."""
    own = pl.read_parquet(registry.record_file(challenger, "per_query.parquet"))
    queries = pl.read_parquet(registry.record_file(challenger, "queries_test.parquet"))
    if not own.get_column("user_id").equals(queries.get_column("user_id")):
        raise ValueError(
            f"{challenger.name} version {challenger.number}: its records are of other queries; publish again"
        )
    score = own.get_column(evaluate.MODEL).to_numpy()
    checks = [
        _check(f"beats {baseline}", score, own.get_column(baseline).to_numpy(), limit=0.0)
        for baseline in (evaluate.POPULARITY, evaluate.ITEM_KNN)
    ]
    if champion is not None:
        retriever = Retriever(*load_bundle(registry.bundle_path(champion)))
        reigning = evaluate.per_query(evaluate.rank_queries(retriever, queries, None)).get_column(evaluate.MODEL)
        margin = -MARGIN * float(reigning.to_numpy().mean())
        checks.append(_check(f"holds against champion {champion.number}", score, reigning.to_numpy(), limit=margin))
    return Decision(
        challenger.name, challenger.number, champion.number if champion else None, own.height, tuple(checks)
    )


def _check(name: str, ours: metrics.Float64, theirs: metrics.Float64, *, limit: float) -> Check:
    interval = metrics.paired_bootstrap(ours, np.asarray(theirs, np.float64), seed=evaluate.SEED)
    return Check(name, interval.low, interval.mean, interval.high, limit)


def record(registry: Registry, challenger: Version, decision: Decision) -> None:
    """Store the decision with the version: a tag to see, a file to read."""
    content = asdict(decision) | {"promoted": decision.promoted}
    registry.tag(challenger, DECISION_TAG, "promoted" if decision.promoted else "refused")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"gate-{files.digest(content)[:12]}.json"
        path.write_text(json.dumps(content, indent=2) + "\n")
        registry.log_file(challenger, path, "records")


def crown(registry: Registry, version: Version, reigning: Version | None) -> None:
    """Make ``version`` champion and the reigning one ``previous``; the champion is valid at every moment.

    ``previous`` comes first: killed in between, a second promotion does the same again.
    """
    if reigning is not None:
        registry.move(version.name, PREVIOUS, reigning)
    registry.move(version.name, CHAMPION, version)
    _retire_challenger(registry, version)


def _retire_challenger(registry: Registry, champion: Version) -> None:
    challenger = registry.version(champion.name, CHALLENGER)
    if challenger is not None and challenger.number == champion.number:
        registry.move(champion.name, CHALLENGER, None)


def rollback(name: str, *, registry_uri: str | None = None, say: Callable[[str], None] = print) -> Version:
    """Make ``previous`` champion again; the deposed champion becomes ``previous``.

    The champion comes first: killed in between, both aliases are at the version that was asked for.
    """
    registry = Registry(registry_uri)
    back, reigning = registry.version(name, PREVIOUS), registry.version(name, CHAMPION)
    if back is None or reigning is None or back.number == reigning.number:
        raise ValueError(f"{name!r} has no previous champion in {registry.uri}; nothing to go back to")
    registry.tag(reigning, "recsys.rolled_back", f"to version {back.number}")
    registry.move(name, CHAMPION, back)
    registry.move(name, PREVIOUS, reigning)
    say(f"{name} version {back.number} is champion again, instead of version {reigning.number}")
    return back
