"""Promotion: a gate, not a click. Challenger against champion on queries that neither was trained on."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys import files, metrics
from recsys.bundle import load_bundle
from recsys.config import GateConfig, with_overrides
from recsys.errors import InputError
from recsys.registry import CHALLENGER, CHAMPION, Registry, Version
from recsys.retriever import Retriever

from ..evaluation import evaluate
from . import aliases, checks
from .checks import Check, SliceScores
from .fair_queries import FairQueries, Records, fair_queries

DECISION_TAG = "recsys.gate"
ROUNDS = 3  # of judging, where the champion changes meanwhile


@dataclass(frozen=True)
class Decision:
    """What the gate found, and why. source: the version whose test queries were asked; of them, num_queries."""

    name: str
    challenger: int
    champion: int | None
    source: int
    num_queries: int
    checks: tuple[Check, ...]
    settings: dict[str, Any]

    @property
    def promoted(self) -> bool:
        """All demands are met."""
        return all(check.passed for check in self.checks)

    @property
    def verdict(self) -> str:
        """ "promoted", or what it was refused for."""
        failed = [check.name for check in self.checks if not check.passed]
        return f"refused: {'; '.join(failed)}" if failed else "promoted"

    @property
    def id(self) -> str:
        """The fingerprint of the decision."""
        return files.digest(asdict(self))[:12]

    def lines(self) -> list[str]:
        """The decision as a person reads it."""
        against = "" if self.champion is None else f" against champion {self.champion}"
        title = f"{self.name} version {self.challenger}{against}, on {self.num_queries:,} test queries of version "
        return [f"{title}{self.source} whose answers no model was trained on", *map(str, self.checks)]


def promote(
    name: str,
    *,
    number: int | None = None,
    dry_run: bool = False,
    overrides: tuple[str, ...] = (),
    registry_uri: str | None = None,
    say: Callable[[str], None] = print,
) -> Decision:
    """Judge a version (default: the challenger) and, if it passes, make it champion and the champion ``previous``.

    overrides: ``gate.key=value``, over the settings that the version was published with. Repeating a promotion changes
    nothing. Raises InputError where nothing can be judged, or others keep changing the champion.
    """
    registry = Registry(registry_uri)
    for _ in range(ROUNDS):
        champion = registry.version(name, CHAMPION)
        challenger = registry.numbered(name, number) if number is not None else registry.version(name, CHALLENGER)
        challenger = challenger or champion  # nothing challenges: the last promotion was complete
        if challenger is None:
            raise InputError(f"{name!r} has no challenger in {registry.uri}; publish a model first, or give --version")
        if champion is not None and champion.number == challenger.number:
            say(f"{name} version {champion.number} is champion already")
            if not dry_run:
                aliases.complete(registry, champion)
            return Decision(name, challenger.number, champion.number, champion.number, 0, (), {})
        decision = judge(registry, challenger, champion, overrides)
        for line in decision.lines():
            say(line)
        if dry_run:
            say(f"dry run, nothing is changed; the verdict: {decision.verdict}")
            return decision
        with registry.locked(name) as held:
            if registry.version(name, CHAMPION) != champion:
                say("the champion has changed meanwhile; judging again")
                continue
            record(registry, challenger, decision)
            if decision.promoted:
                aliases.crown(registry, challenger, champion, why(decision), held)
            say(f"{name} version {challenger.number} {decision.verdict}")
            return decision
    raise InputError(f"{name}: the champion changed {ROUNDS} times while this version was judged; try again")


def judge(registry: Registry, challenger: Version, champion: Version | None, overrides: tuple[str, ...]) -> Decision:
    """Run the checks; writes nothing. The first version is measured against the baselines alone."""
    ours = Records.read(registry, challenger)
    theirs = None if champion is None else Records.read(registry, champion)
    settings = with_overrides(ours.config, overrides, f"the gate of {challenger.name}").gate
    fair = fair_queries(ours, theirs)
    count = fair.queries.height
    found = [Check("queries", count >= settings.min_queries, count, "at least", settings.min_queries, form=",")]
    if found[0].passed:
        versions = [challenger] if champion is None else [challenger, champion]
        retrievers = [Retriever(*load_bundle(registry.bundle_path(version))) for version in versions]
        found += _checks(retrievers, ours, fair, settings)
    reigning = None if champion is None else champion.number
    return Decision(challenger.name, challenger.number, reigning, fair.source.version.number, count,
                    tuple(found), settings.model_dump())  # fmt: skip


def _checks(retrievers: list[Retriever], ours: Records, fair: FairQueries, settings: GateConfig) -> list[Check]:
    """retrievers: the challenger's and, where there is one, the champion's."""
    evaluated = [evaluate.rank_queries(retriever, fair.queries, None) for retriever in retrievers]
    scores = [_scores(each) for each in evaluated]
    found = [
        checks.ahead(f"beats {baseline}", scores[0], fair.per_query.get_column(baseline).to_numpy().astype(np.float64))
        for baseline in (evaluate.POPULARITY, evaluate.ITEM_KNN)
    ]
    if len(retrievers) > 1:
        found.append(checks.ahead("ahead of the champion", *scores, gain=settings.required_gain))
        slices = evaluate.slices_of(evaluated[0], retrievers[0].bundle, ours.trained_users())
        pairs = [SliceScores(each.name, *(each.values(side, evaluate.MODEL) for side in evaluated)) for each in slices]
        if fair.champions.height:
            own = (_scores(evaluate.rank_queries(retriever, fair.champions, None)) for retriever in retrievers)
            pairs.append(SliceScores("the champion's own test", *own))
        sizes = [retriever.bundle.encoder.num_items for retriever in retrievers]
        found += [*checks.floors(pairs, settings), *checks.spread(evaluated, sizes, settings)]
    return [*found, checks.index_recall(retrievers[0], evaluated[0], settings),
            checks.latency(retrievers, evaluated[0], settings)]  # fmt: skip


def _scores(evaluated: evaluate.EvaluationSet) -> metrics.Float64:
    return evaluate.per_query(evaluated).get_column(evaluate.MODEL).to_numpy()


def why(decision: Decision) -> str:
    """A decision in a few words, for the history."""
    shown = next((check for check in decision.checks if check.name.startswith("ahead of")), decision.checks[-1])
    if shown.low is None:
        shown = next(check for check in decision.checks if check.low is not None)
    return (
        f"gate {decision.id}: {shown.name} by {shown.figure:+.4f} [{shown.low:+.4f}, {shown.high:+.4f}] "
        f"{evaluate.HEADLINE} on {decision.num_queries:,} queries"
    )


def record(registry: Registry, challenger: Version, decision: Decision) -> None:
    """Store the decision with the version: a tag to see, a table and a JSON file to read."""
    content = asdict(decision) | {"promoted": decision.promoted, "verdict": decision.verdict}
    registry.tag(challenger, DECISION_TAG, decision.verdict)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"gate-{decision.id}"
        files.write_json(path.with_suffix(".json"), content)
        path.with_suffix(".txt").write_text("\n".join([*decision.lines(), decision.verdict]) + "\n")
        for suffix in (".json", ".txt"):
            registry.log_file(challenger, path.with_suffix(suffix), "gate")
