"""Promotion: a gate, not a click. Challenger against champion on queries that neither was trained on."""

import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from recsys.bundle import load_bundle
from recsys.config import with_overrides
from recsys.errors import InputError
from recsys.progress import stage
from recsys.registry import CHALLENGER, CHAMPION, Registry, Version, check_name
from recsys.retriever import GoldenAnswers, Retriever

from . import aliases
from .checks import CHECKS, at_least
from .decision import Decision
from .evidence import gather
from .fair_queries import Records, fair_queries
from .freshness import stale_days
from .last_resort import LAST_RESORT_TAG, baseline_of, is_last_resort, judge_last_resort, require_number, stands_in

DECISION_TAG = "recsys.gate"
AGAINST_CHAMPION = ("gate.required_gain", "gate.stale_margin")
ROUNDS = 3  # attempts to decide while other processes change the champion
logger = logging.getLogger(__name__)


def promote(
    name: str,
    *,
    number: int | None = None,
    dry_run: bool = False,
    overrides: tuple[str, ...] = (),
    registry_uri: str | None = None,
    now: datetime | None = None,
) -> Decision:
    """Judge a version and, if it passes, make it champion and the champion of now ``previous``. Safe to repeat.

    Args:
        name: the registered model.
        number: the version to judge; None for the challenger.
        dry_run: judge only, and store nothing.
        overrides: ``gate.key=value``, over the settings that the version was published with.
        registry_uri: an MLflow registry; None for the default one.
        now: the time that the champion's age is measured by; None for the clock.

    Raises:
        InputError: there is nothing to judge, or other processes keep changing the champion.
    """
    check_name(name)
    registry = Registry(registry_uri)
    for _ in range(ROUNDS):
        champion = registry.version(name, CHAMPION)
        challenger = registry.numbered(name, number) if number is not None else registry.version(name, CHALLENGER)
        challenger = challenger or champion  # without a challenger, the last promotion was complete
        if challenger is None:
            raise InputError(f"{name!r} has no challenger in {registry.uri}; publish a model first, or give --version")
        if champion is not None and champion.number == challenger.number:
            if not dry_run:
                aliases.finish_promotion(registry, champion)
            return Decision.already_champion(name, champion.number, baseline_of(champion), is_last_resort(champion))
        require_number(challenger, champion, number)
        decision = judge(registry, challenger, champion, overrides, now or datetime.now(UTC))
        passed = sum(check.passed for check in decision.checks)
        logger.info("%s version %d passed %d of %d checks", name, challenger.number, passed, len(decision.checks))
        if dry_run:
            return decision
        with registry.locked(name) as check_lock:
            if registry.version(name, CHAMPION) != champion:
                logger.info("the champion has changed meanwhile; judging again")
                continue
            record(registry, challenger, decision)
            if decision.promoted:
                aliases.make_champion(registry, challenger, champion, reason(decision), check_lock)
        return decision
    raise InputError(f"{name}: the champion changed {ROUNDS} times while this version was judged; try again")


def judge(
    registry: Registry, challenger: Version, champion: Version | None, overrides: tuple[str, ...], now: datetime
) -> Decision:
    """Run the checks and store nothing. The first version of a model is compared with the baselines only."""
    baseline, last_resort = baseline_of(challenger), stands_in(challenger, champion)
    with stage("fetch the records"):
        records = Records.read(registry, challenger)
        settings = with_overrides(records.config, overrides, f"the gate of {challenger.name}").gate
        if baseline is not None:
            settings = settings.model_copy(update={"must_beat": ()})  # it is one of them
        rival = None if champion is None else Records.read(registry, champion)
        fair = fair_queries(records, rival)
        if last_resort and fair.queries.height < settings.min_slice_queries:  # too few to compare two baselines
            rival, fair = None, fair_queries(records, None)
        enough = at_least("queries", fair.queries.height, settings.min_queries, form=",", key="min_queries")
        results = [] if last_resort else [enough]
        versions = [challenger] if rival is None else [challenger, rival.version]
        retrievers = [
            Retriever(*load_bundle(registry.bundle_path(version), expected_id=version.bundle_id))
            for version in versions
            if last_resort or enough.passed
        ]
    if retrievers:
        stale = None
        if baseline_of(champion) is None:  # a model must beat a baseline, however old
            stale = stale_days(records, rival, registry.changes(challenger.name), settings, now)
        evidence = gather(retrievers, records, fair, settings, stale)
        with stage("decide"):
            if last_resort:
                results += judge_last_resort(evidence, GoldenAnswers.read(registry.records(challenger)))
            else:
                results += [result for check in CHECKS for result in check(evidence)]
    return Decision(
        name=challenger.name,
        challenger=challenger.number,
        champion=None if champion is None else champion.number,
        source=fair.source.version.number,
        num_queries=fair.queries.height,
        checks=tuple(results),
        settings=settings,
        baseline=baseline,
        champion_baseline=baseline_of(champion),
        last_resort=last_resort,
    )


def reason(decision: Decision) -> str:
    """A decision in a few words, for the version history: the comparison that mattered most."""
    if decision.last_resort:
        return f"gate {decision.id}: {decision.baseline} as last resort, since no model has passed"
    compared = [check for check in decision.checks if check.low is not None]
    if not compared:
        return f"gate {decision.id}: compared with nothing on {decision.num_queries:,} queries"
    check = next((check for check in compared if check.key in AGAINST_CHAMPION), compared[0])
    return (
        f"gate {decision.id}: {check.name}, {check.metric} {check.figure:+.4f} [{check.low:+.4f}, {check.high:+.4f}] "
        f"on {decision.num_queries:,} queries"
    )


def record(registry: Registry, challenger: Version, decision: Decision) -> None:
    """Store the decision with the version: a tag to see, a table and a JSON file to read."""
    registry.tag(challenger, DECISION_TAG, decision.verdict)
    if decision.promoted and (decision.last_resort or LAST_RESORT_TAG in challenger.tags):
        registry.tag(challenger, LAST_RESORT_TAG, str(decision.last_resort).lower())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"gate-{decision.id}"
        decision.write(path.with_suffix(".json"))
        path.with_suffix(".txt").write_text("\n".join(decision.lines()) + "\n")
        for suffix in (".json", ".txt"):
            registry.log_file(challenger, path.with_suffix(suffix), "gate")
