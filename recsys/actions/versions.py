"""Which version is better and which serves: evaluate, compare, promote, roll back, and the version history."""

from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, Field

from training.drift import DriftFigures
from training.promotion import Check

from .. import files
from ..errors import InputError
from ..metrics import Interval
from ..progress import stage
from ..registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, VersionChange
from .engine import LOCAL, Engine
from .outcome import Outcome, next_command

GATE_REFUSED = 3


class Evaluated(Outcome, frozen=True):
    """Figures on frozen queries: by metric, with a 95% interval over the queries."""

    bundle: str
    bundle_id: str
    num_queries: int
    figures: dict[str, Interval]

    def lines(self) -> list[str]:
        """The bundle, then one line per metric."""
        return [
            f"bundle {self.bundle_id[:12]}, {self.num_queries:,} queries",
            *(
                f"{name:12s} {value.mean:.4f}  [{value.low:.4f}, {value.high:.4f}]"
                for name, value in self.figures.items()
            ),
        ]


class ComparedBundle(BaseModel, frozen=True):
    """A bundle that was compared. source: as it was given.

    name, version, roles: of a registered one; the roles are its aliases, such as champion. baseline, last_resort: see
    ``Promoted``.
    """

    source: str
    bundle_id: str
    name: str | None = None
    version: int | None = None
    roles: list[str] = []
    baseline: str | None = None
    last_resort: bool = False

    def __str__(self) -> str:
        if self.name is None:
            return self.source
        kind = [f"{self.baseline} baseline"] if self.baseline is not None else []
        notes = [*self.roles, *kind, *(["last resort"] if self.last_resort else [])]
        return f"{self.name} version {self.version}" + (f" ({', '.join(notes)})" if notes else "")


class Compared(Outcome, frozen=True):
    """How B's answers differ from A's. verdict: how much changes. page: where the charts are, if there is one."""

    verdict: str
    a: ComparedBundle
    b: ComparedBundle
    figures: DriftFigures
    page: Path | None
    text: list[str] = Field(exclude=True)

    def lines(self) -> list[str]:
        """The verdict and the figures."""
        return [*self.text, *([] if self.page is None else [f"page: {self.page}"])]


class Promoted(Outcome, frozen=True):
    """What the gate decided. champion: the number of the champion before, if any; version: of the one judged.

    baseline: the label of the baseline that the version serves, None for a trained model. last_resort: whether it was
    judged as last resort, where no trained model is champion.
    """

    name: str
    version: int
    champion: int | None
    promoted: bool
    baseline: str | None = None
    last_resort: bool = False
    dry_run: bool
    verdict: str
    num_queries: int
    checks: tuple[Check, ...]
    text: list[str] = Field(exclude=True)

    def lines(self) -> list[str]:
        """What was compared, each check, the verdict."""
        return self.text


class RolledBack(Outcome, frozen=True):
    """version: the champion now. replaced: the champion until now."""

    name: str
    version: int
    replaced: int

    def lines(self) -> list[str]:
        """What was changed."""
        return [f"{self.name} version {self.version} is champion again, instead of version {self.replaced}"]


class History(Outcome, frozen=True):
    """Who served when. changes: oldest first. champion: the version that serves now, if any.

    baseline: the label of the baseline that it serves, None for a trained model. last_resort: whether it serves for
    want of a model that passes the gate.
    """

    name: str
    champion: int | None
    baseline: str | None
    last_resort: bool
    changes: list[VersionChange]
    text: list[str] = Field(exclude=True)

    def lines(self) -> list[str]:
        """One line per change, then who serves now."""
        return self.text


def evaluate(
    bundle: str, queries: str, device: str, registry: str | None, allow_encoder: list[str] | None = None,
    engine: Engine = LOCAL,
) -> Outcome:  # fmt: skip
    """Score a bundle or a registered model on frozen queries."""
    from training.evaluation import MODEL, RankBlocks, rank_blocks, rank_queries, summarise
    from training.validation import MAX_TEST_QUERIES

    from ..data import read_queries

    source = engine.source(bundle, None, None, device, registry, allow_encoder)
    rank: RankBlocks = rank_blocks
    if engine.is_ray:
        from training.evaluation import rank_on_ray

        rank = rank_on_ray(source, engine.address)
    with stage("load the bundle"):
        table = read_queries(queries, targets=True, at_most=MAX_TEST_QUERIES)
        retriever = source.load()
    with stage("answer the queries"):
        record = summarise(rank_queries(retriever, table, None, rank=rank), retriever, None)
    return Evaluated(
        bundle=bundle, bundle_id=record.bundle_id, num_queries=record.num_queries, figures=record.methods[MODEL]
    )


def compare(a: str, b: str, events: str | None, queries: str | None, out: Path | None, registry: str | None) -> Outcome:
    """Compare the answers of two bundles, without labels."""
    from training.drift import compare_bundles, lines, read_histories, render, verdict

    from ..retriever import Retriever

    if out is not None:
        files.require_writable(out, directory=False)
    with stage("load both bundles"):
        old, new = (Retriever.load(source, registry_uri=registry) for source in (a, b))
    with stage("compare their answers"):
        figures = compare_bundles(old, new, read_histories(old, events=events, queries=queries))
        sides = [_described(*side, registry) for side in ((a, old.bundle_id), (b, new.bundle_id))]
        names = (str(sides[0]), str(sides[1]))
        if out is not None:
            with files.replacing(out) as page:
                page.write_text(render(figures, names))
    return Compared(
        verdict=verdict(figures).level, a=sides[0], b=sides[1], figures=figures, page=out, text=lines(figures, names)
    )


def _described(source: str, bundle_id: str, uri: str | None) -> ComparedBundle:
    """Which version a loaded bundle is; only its source if it is none, or an alias has moved since it was loaded."""
    from training.promotion import baseline_of, is_last_resort

    plain = ComparedBundle(source=source, bundle_id=bundle_id)
    if not source.startswith("models:/"):
        return plain
    registry, model = Registry(uri), source.removeprefix("models:/")
    name, at, alias = model.partition("@")
    if not at:
        name, _, number = model.rpartition("/")
    version = registry.version(name, alias) if at else registry.numbered(name, int(number))
    if version is None or version.bundle_id != bundle_id:
        return plain
    roles = [role for role in (CHAMPION, CHALLENGER, PREVIOUS) if registry.version(name, role) == version]
    return ComparedBundle(
        source=source, bundle_id=bundle_id, name=name, version=version.number, roles=roles,
        baseline=baseline_of(version), last_resort=is_last_resort(version),
    )  # fmt: skip


def promote(
    name: str, version: int | None, dry_run: bool, settings: list[str] | None, registry: str | None
) -> Promoted:
    """Judge a version and, if it passes, make it champion."""
    from training.promotion import promote as promote_version

    with stage("judge the version"):
        decision = promote_version(
            name, number=version, dry_run=dry_run, overrides=tuple(settings or ()), registry_uri=registry
        )
    if decision.promoted and dry_run:
        following = next_command("promote", name, version=version, set=settings, registry=registry)
    elif decision.promoted:
        following = score_with_champion(name, decision.challenger, registry)
    elif decision.champion is not None:
        models = (f"models:/{name}@champion", f"models:/{name}/{decision.challenger}")
        events = _events_of(name, decision.challenger, registry)
        following = next_command("compare", *models, events=events, registry=registry)
    else:
        following = None
    return Promoted(
        name=name, version=decision.challenger, champion=decision.champion, promoted=decision.promoted and not dry_run,
        baseline=decision.baseline, last_resort=decision.last_resort,
        dry_run=dry_run, verdict=decision.verdict, num_queries=decision.num_queries, checks=decision.checks,
        text=decision.lines(dry_run=dry_run), next=following, exit_code=0 if decision.promoted else GATE_REFUSED,
    )  # fmt: skip


def score_with_champion(name: str, number: int, registry: str | None) -> str:
    """The command that scores the log that a version was trained on; EVENTS where its run does not name it."""
    events = _events_of(name, number, registry)
    return next_command("score", bundle=f"models:/{name}@champion", events=events, out="recs", registry=registry)


def _events_of(name: str, number: int, registry: str | None) -> str:
    """The log that a version was trained on, or EVENTS: what was done is not lost because this cannot be looked up."""
    store = Registry(registry)
    with suppress(InputError):
        return store.events_of(store.numbered(name, number)) or "EVENTS"
    return "EVENTS"


def rollback(name: str, version: int | None, registry: str | None) -> Outcome:
    """Make an earlier champion champion again."""
    from training.promotion import rollback as roll_back

    with stage("move the aliases"):
        moved = roll_back(name, number=version, registry_uri=registry)
    return RolledBack(
        name=name, version=moved.restored.number, replaced=moved.replaced.number,
        next=next_command("history", name, registry=registry),
    )  # fmt: skip


def history(name: str, registry: str | None) -> Outcome:
    """Read who served when."""
    from training.promotion import version_history

    with stage("read the version history"):
        served = version_history(name, registry_uri=registry)
    return History(
        name=name, champion=served.champion, baseline=served.baseline, last_resort=served.last_resort,
        changes=served.changes, text=served.lines(),
    )  # fmt: skip
