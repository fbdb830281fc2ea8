"""The commands that judge registered versions and decide which one serves."""

from pathlib import Path
from typing import TYPE_CHECKING

from .. import actions
from ..actions import (
    Address,
    AllowEncoder,
    Device,
    Engine,
    EngineName,
    ModelName,
    Queries,
    RegistryUri,
    Settings,
    Source,
    command,
)
from .program import app

if TYPE_CHECKING:
    from ..actions import Outcome


@command(app, stages=2)
def evaluate(
    *, bundle: Source, queries: str, allow_encoder: AllowEncoder = None, device: Device = "auto",
    registry: RegistryUri = None, engine: EngineName = "local", address: Address = None,
) -> "Outcome":  # fmt: skip
    """Score a bundle or a registered version on frozen queries.

    Example: recsys evaluate --bundle models:/recsys@champion --queries run/queries_test.parquet

    Args:
        queries: a file of user_id, history and targets (lists of item ids), such as queries_test.parquet of a run;
            if it has more than a million, a random sample of them is taken
    """
    return actions.evaluate(bundle, queries, device, registry, allow_encoder, Engine(engine, address))


@command(app, stages=2)
def compare(
    a: Source, b: Source, *, events: str | None = None, queries: Queries = None, out: Path | None = None,
    registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Show how B's answers differ from A's, without labels: how much changes, not which is better.

    Example: recsys compare models:/recsys@champion models:/recsys@challenger --events events.parquet --out drift.html

    Args:
        events: a log; the answers to a sample of its users are compared
        out: an HTML page for the figures and charts
    """
    return actions.compare(a, b, events, queries, out, registry)


@command(app, stages=1)
def promote(
    name: ModelName, *, version: int | None = None, dry_run: bool = False, settings: Settings = None,
    registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Judge the challenger against the champion and, if it passes, let it serve. Exit code 3: refused.

    Example: recsys promote recsys

    Args:
        version: judge this version instead of the challenger
        dry_run: judge only, change nothing
    """
    return actions.promote(name, version, dry_run, settings, registry)


@command(app, stages=1)
def rollback(name: ModelName, *, version: int | None = None, registry: RegistryUri = None) -> "Outcome":
    """Make the previous champion, or another version, champion again.

    Example: recsys rollback recsys

    Args:
        version: go back to this version instead of the previous champion
    """
    return actions.rollback(name, version, registry)


@command(app, stages=1)
def history(name: ModelName, *, registry: RegistryUri = None) -> "Outcome":
    """Show who served when, by which decision of the gate, from which data.

    Example: recsys history recsys
    """
    return actions.history(name, registry)
