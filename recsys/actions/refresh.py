"""``refresh``: today's items in a bundle, without a training."""

from pathlib import Path

from pydantic import Field

from training.promotion import Check

from ..text_encoders import import_functions
from .outcome import Outcome, next_command
from .versions import GATE_REFUSED, score_with_champion


class Refreshed(Outcome, frozen=True):
    """A refreshed bundle. parent: the bundle id that it was refreshed from. added, changed, removed: numbers of items.

    version: the one that was registered, or the champion where nothing differed; None where nothing was registered.
    promoted: whether it has become champion.
    """

    bundle: Path
    bundle_id: str
    parent: str
    added: int
    changed: int
    removed: int
    version: int | None
    promoted: bool
    checks: tuple[Check, ...]
    text: list[str] = Field(exclude=True)

    def lines(self) -> list[str]:
        """What changed, each check, the verdict."""
        return self.text


def refresh(
    source: str, items: str, out: Path, complete: bool, registry: str | None, allow_encoder: list[str] | None = None
) -> Outcome:
    """Write a bundle with newer items; a refresh of the champion is registered and judged."""
    from training.refresh import refresh as refresh_bundle

    encoders = import_functions(allow_encoder or ())
    done = refresh_bundle(source, items, out, complete=complete, registry_uri=registry, encoders=encoders)
    decision, version, following = done.decision, done.version, None
    promoted = decision is not None and decision.promoted
    text = [f"bundle {done.bundle_id[:12]} in {out}, a refresh of {done.parent_id[:12]}: {done.changes}"]
    if not done.placed:
        text.append("new items are left out: the model reads no item features, so it cannot place them")
    if decision is not None:
        text += decision.lines()
    elif version is not None:
        text.append(f"{version} is champion already with these items; nothing is registered")
    if version is not None and promoted:
        following = score_with_champion(version.name, version.number, registry)
    elif version is None:
        following = next_command("recommend", bundle=out, history="ITEM_ID")
    return Refreshed(
        bundle=out, bundle_id=done.bundle_id, parent=done.parent_id, added=done.changes.added,
        changed=done.changes.changed, removed=done.changes.removed, version=None if version is None else version.number,
        promoted=promoted, checks=() if decision is None else decision.checks, text=text, next=following,
        exit_code=0 if decision is None or promoted else GATE_REFUSED,
    )  # fmt: skip
