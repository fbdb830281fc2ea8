"""Who serves: the champion's aliases, the way back, and the record of who served when."""

from collections.abc import Callable
from datetime import UTC, datetime

from recsys.errors import InputError
from recsys.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version

DATASET_TAG = "recsys.dataset"


def crown(registry: Registry, version: Version, reigning: Version | None, why: str, held: Callable[[], None]) -> None:
    """Make ``version`` champion and the reigning one ``previous``; the champion is valid at every moment.

    ``previous`` comes first: killed in between, a second promotion does the same again. held: asked before every step
    whether the lock still is ours.
    """
    if reigning is not None:
        held()
        registry.move(version.name, PREVIOUS, reigning)
    held()
    registry.move(version.name, CHAMPION, version)
    _note(registry, version, reigning, "promoted", why)
    _retire_challenger(registry, version)


def complete(registry: Registry, champion: Version) -> None:
    """What a promotion that was killed after its last move has left to do."""
    with registry.locked(champion.name):
        events = registry.events(champion.name)
        if not events or events[-1]["version"] != champion.number:
            _note(registry, champion, None, "promoted", "completed after an interruption")
        _retire_challenger(registry, champion)


def rollback(
    name: str, *, number: int | None = None, registry_uri: str | None = None, say: Callable[[str], None] = print
) -> Version:
    """Make ``previous``, or the version named, champion again; the deposed champion becomes ``previous``.

    The champion comes first: killed in between, it is at the version that was asked for.
    """
    registry = Registry(registry_uri)
    nowhere = InputError(f"{name!r} has no other champion to go back to in {registry.uri}; see recsys history")
    if registry.version(name, CHAMPION) is None:
        raise nowhere
    with registry.locked(name) as held:
        reigning = registry.version(name, CHAMPION)
        back = registry.numbered(name, number) if number is not None else registry.version(name, PREVIOUS)
        if back is None or reigning is None or back.number == reigning.number:
            raise nowhere
        held()
        registry.move(name, CHAMPION, back)
        _note(registry, back, reigning, "rolled back to", f"instead of version {reigning.number}")
        held()
        registry.move(name, PREVIOUS, reigning)
        registry.tag(reigning, "recsys.rolled_back", f"to version {back.number}")
    say(f"{name} version {back.number} is champion again, instead of version {reigning.number}")
    return back


def history(name: str, *, registry_uri: str | None = None) -> list[str]:
    """Who served when, by which decision, from which data: a line an event, then who serves now.

    Raises InputError where nothing of that name was ever promoted.
    """
    registry = Registry(registry_uri)
    events, champion = registry.events(name), registry.version(name, CHAMPION)
    if not events:
        raise InputError(f"{name!r} has no history in {registry.uri}; promote a version first, or give --registry")
    lines = [
        f"{each['at']}  {each['action']} version {each['version']}  data {each['dataset'][:12]}  {each['why']}"
        for each in events
    ]
    by_hand = champion is None or champion.number != events[-1]["version"]
    serves = f"version {champion.number}" if champion is not None else "nobody"
    return [*lines, f"now: {serves} serves" + (", moved by hand or by an interrupted step" if by_hand else "")]


def _note(registry: Registry, version: Version, instead_of: Version | None, action: str, why: str) -> None:
    registry.note(version.name, {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "action": action, "version": version.number,
        "instead_of": instead_of and instead_of.number, "why": why, "bundle_id": version.bundle_id,
        "dataset": version.tags.get(DATASET_TAG, ""),
    })  # fmt: skip


def _retire_challenger(registry: Registry, champion: Version) -> None:
    challenger = registry.version(champion.name, CHALLENGER)
    if challenger is not None and challenger.number == champion.number:
        registry.move(champion.name, CHALLENGER, None)
