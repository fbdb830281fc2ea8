"""Promotion: a gate, not a click. Challenger against champion on queries that neither was trained on."""

import logging
import tempfile
from pathlib import Path

import numpy as np

from recsys import metrics
from recsys.bundle import load_bundle
from recsys.config import GateConfig, with_overrides
from recsys.errors import InputError
from recsys.registry import CHALLENGER, CHAMPION, Registry, Version
from recsys.retriever import Retriever

from ..evaluation import BASELINES, MODEL, evaluate
from . import aliases, checks
from .checks import SliceScores
from .decision import Check, Decision
from .fair_queries import FairQueries, Records, fair_queries

DECISION_TAG = "recsys.gate"
ROUNDS = 3  # of judging, where the champion changes meanwhile
logger = logging.getLogger(__name__)


def promote(
    name: str,
    *,
    number: int | None = None,
    dry_run: bool = False,
    overrides: tuple[str, ...] = (),
    registry_uri: str | None = None,
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
            if not dry_run:
                aliases.finish_promotion(registry, champion)
            return Decision.already_champion(name, champion.number)
        decision = judge(registry, challenger, champion, overrides)
        if dry_run:
            return decision
        with registry.locked(name) as check_lock:
            if registry.version(name, CHAMPION) != champion:
                logger.info("the champion has changed meanwhile; judging again")
                continue
            record(registry, challenger, decision)
            if decision.promoted:
                aliases.make_champion(registry, challenger, champion, why(decision), check_lock)
            return decision
    raise InputError(f"{name}: the champion changed {ROUNDS} times while this version was judged; try again")


def judge(registry: Registry, challenger: Version, champion: Version | None, overrides: tuple[str, ...]) -> Decision:
    """Run the checks; writes nothing. The first version is measured against the baselines alone."""
    ours = Records.read(registry, challenger)
    theirs = None if champion is None else Records.read(registry, champion)
    settings = with_overrides(ours.config, overrides, f"the gate of {challenger.name}").gate
    fair = fair_queries(ours, theirs)
    count = fair.queries.height
    found = [checks.at_least("queries", count, settings.min_queries, form=",")]
    if found[0].passed:
        versions = [challenger] if champion is None else [challenger, champion]
        retrievers = [Retriever(*load_bundle(registry.bundle_path(version))) for version in versions]
        found += _checks(retrievers, ours, fair, settings)
    reigning = None if champion is None else champion.number
    return Decision(
        name=challenger.name, challenger=challenger.number, champion=reigning, source=fair.source.version.number,
        num_queries=count, checks=tuple(found), settings=settings,
    )  # fmt: skip


def _checks(retrievers: list[Retriever], ours: Records, fair: FairQueries, settings: GateConfig) -> list[Check]:
    """retrievers: the challenger's and, where there is one, the champion's."""
    evaluated = [evaluate.rank_queries(retriever, fair.queries, None) for retriever in retrievers]
    scores = [_scores(each) for each in evaluated]
    found = [
        checks.ahead(f"beats {baseline}", scores[0], fair.per_query.get_column(baseline).to_numpy().astype(np.float64))
        for baseline in (baseline.name for baseline in BASELINES if baseline.required)
    ]
    if len(retrievers) > 1:
        found.append(checks.ahead("ahead of the champion", *scores, gain=settings.required_gain))
        slices = evaluate.slices_of(evaluated[0], retrievers[0].bundle, ours.trained_users())
        pairs = [SliceScores(each.name, *(each.values(side, MODEL) for side in evaluated)) for each in slices]
        if fair.champions.height:
            own = (_scores(evaluate.rank_queries(retriever, fair.champions, None)) for retriever in retrievers)
            pairs.append(SliceScores("the champion's own test", *own))
        sizes = [retriever.bundle.encoder.num_items for retriever in retrievers]
        found += [*checks.floors(pairs, settings), *checks.spread(evaluated, sizes, settings)]
    return [*found, checks.index_recall(retrievers[0], evaluated[0], settings),
            checks.latency(retrievers, evaluated[0], settings)]  # fmt: skip


def _scores(evaluated: evaluate.EvaluationSet) -> metrics.Float64:
    return evaluate.per_query(evaluated).get_column(MODEL).to_numpy()


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
    registry.tag(challenger, DECISION_TAG, decision.verdict)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"gate-{decision.id}"
        decision.write(path.with_suffix(".json"))
        path.with_suffix(".txt").write_text("\n".join(decision.lines()) + "\n")
        for suffix in (".json", ".txt"):
            registry.log_file(challenger, path.with_suffix(suffix), "gate")
