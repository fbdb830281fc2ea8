"""Which version serves: moving the champion's aliases forward and back, and the version history."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from recsys.errors import InputError
from recsys.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version, VersionChange, check_name

from .last_resort import baseline_of, is_last_resort

DATASET_TAG = "recsys.dataset"
logger = logging.getLogger(__name__)


def make_challenger(registry: Registry, version: Version) -> str:
    """Make a version challenger unless it is champion, or a later version is challenger.

    Returns:
        What the version now is: "challenger", "champion" or "behind challenger NUMBER".
    """
    with registry.locked(version.name):
        champion, challenger = registry.version(version.name, CHAMPION), registry.version(version.name, CHALLENGER)
        if champion is not None and champion.number == version.number:
            return CHAMPION
        if challenger is not None and challenger.number > version.number:
            return f"behind challenger {challenger.number}"
        if challenger != version:
            registry.move(version.name, CHALLENGER, version)
    return CHALLENGER


def make_champion(
    registry: Registry, version: Version, champion: Version | None, why: str, check_lock: Callable[[], None]
) -> None:
    """Make ``version`` champion and the champion of now, if any, ``previous``.

    The champion is valid at every moment. ``previous`` moves first: if the process is killed in between, a second
    promotion repeats the same moves.

    Args:
        registry: where the aliases are.
        version: the new champion.
        champion: the champion of now.
        why: the reason, for the version history.
        check_lock: raises InputError if the lock was lost; called before every move.
    """
    if champion is not None:
        check_lock()
        registry.move(version.name, PREVIOUS, champion)
    check_lock()
    registry.move(version.name, CHAMPION, version)
    _log_change(registry, version, champion, "promoted", why)
    _retire_challenger(registry, version)


def finish_promotion(registry: Registry, champion: Version) -> None:
    """Do what is left of a promotion that was killed after it moved the champion."""
    with registry.locked(champion.name):
        changes = registry.changes(champion.name)
        if not changes or changes[-1].version != champion.number:
            _log_change(registry, champion, None, "promoted", "completed after an interruption")
        _retire_challenger(registry, champion)


@dataclass(frozen=True)
class Rollback:
    """restored: the version that is champion again. replaced: the champion until then."""

    restored: Version
    replaced: Version


def rollback(name: str, *, number: int | None = None, registry_uri: str | None = None) -> Rollback:
    """Make ``previous``, or version ``number``, champion again; the champion of now becomes ``previous``.

    The champion moves first: if the process is killed in between, it is the version that was asked for.

    Raises:
        InputError: there is no champion, or no other version to go back to, or its bundle is damaged or another one.
    """
    check_name(name)
    registry = Registry(registry_uri)
    nowhere = InputError(f"{name!r} has no other champion to go back to in {registry.uri}; see recsys history")
    if registry.version(name, CHAMPION) is None:
        raise nowhere
    with registry.locked(name) as check_lock:
        champion = registry.version(name, CHAMPION)
        restored = registry.numbered(name, number) if number is not None else registry.version(name, PREVIOUS)
        if restored is None or champion is None:
            raise nowhere
        if restored.number == champion.number:
            raise InputError(f"{name} version {restored.number} is champion already; expected another --version")
        registry.require_bundle(restored)
        check_lock()
        registry.move(name, CHAMPION, restored)
        _log_change(registry, restored, champion, "rolled back to", f"instead of version {champion.number}")
        check_lock()
        registry.move(name, PREVIOUS, champion)
        registry.tag(champion, "recsys.rolled_back", f"to version {restored.number}")
    logger.info("%s version %d is champion again, instead of version %d", name, restored.number, champion.number)
    return Rollback(restored, champion)


@dataclass(frozen=True)
class VersionHistory:
    """Who served when.

    changes: oldest first. champion: the number of the version that serves now, if any. baseline: the label of the
    baseline that it serves, None for a trained model. last_resort: whether that is for want of a model.
    """

    changes: list[VersionChange]
    champion: int | None
    baseline: str | None = None
    last_resort: bool = False

    def lines(self) -> list[str]:
        """One line per change (when, what, from which data, why), then which version serves now."""
        lines = [
            f"{change.at}  {change.action} version {change.version}  data {change.dataset[:12]}  {change.why}"
            for change in self.changes
        ]
        now = "nobody serves" if self.champion is None else f"version {self.champion} serves"
        if self.baseline is not None:
            now += f", the {self.baseline} baseline" + (
                ", as last resort until a model passes the gate" if self.last_resort else ""
            )
        recorded = self.champion == self.changes[-1].version
        return [*lines, f"now: {now}" + ("" if recorded else ", moved by hand or by an interrupted step")]


def version_history(name: str, *, registry_uri: str | None = None) -> VersionHistory:
    """The version history of a model.

    Raises:
        InputError: no version of that name was ever promoted.
    """
    check_name(name)
    registry = Registry(registry_uri)
    changes, champion = registry.changes(name), registry.version(name, CHAMPION)
    if not changes:
        raise InputError(f"{name!r} has no history in {registry.uri}; promote a version first, or give --registry")
    number = None if champion is None else champion.number
    return VersionHistory(changes, number, baseline_of(champion), is_last_resort(champion))


def _log_change(registry: Registry, version: Version, champion: Version | None, action: str, why: str) -> None:
    change = VersionChange(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        action=action,
        version=version.number,
        instead_of=None if champion is None else champion.number,
        why=why,
        bundle_id=version.bundle_id,
        dataset=version.tags.get(DATASET_TAG, ""),
    )
    registry.log_change(version.name, change)


def _retire_challenger(registry: Registry, champion: Version) -> None:
    """Remove the alias ``challenger`` from a version that has become champion."""
    challenger = registry.version(champion.name, CHALLENGER)
    if challenger is not None and challenger.number == champion.number:
        registry.move(champion.name, CHALLENGER, None)
