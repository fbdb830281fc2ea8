"""When a champion is stale: old, and there is a version of newer data that could replace it."""

from datetime import UTC, datetime

import polars as pl

from recsys.config import GateConfig
from recsys.registry import Version, VersionChange

from .fair_queries import Records

SECONDS_PER_DAY = 86_400
REGISTERED_TAG = "recsys.registered"  # of a refreshed version: when the one was registered that was trained


def stale_days(
    challenger: Records,
    champion: Records | None,
    changes: list[VersionChange],
    settings: GateConfig,
    now: datetime,
) -> float | None:
    """The age of the champion in days if it is stale, else None.

    It is stale if it has stood for ``gate.stale_after`` days and the challenger was made later, from another log whose
    events do not end earlier. The age counts from the registration, since a version is registered right after its log
    was read; after a rollback it counts from the rollback, so that the version that somebody chose is not replaced the
    next night.

    Args:
        challenger: the version that may replace it.
        champion: None if there is none.
        changes: the version history of the model.
        settings: of the gate.
        now: the time, with a zone.
    """
    if champion is None or not settings.stale_after or not _is_newer(challenger, champion):
        return None
    number = champion.version.number
    back = [
        datetime.fromisoformat(change.at)
        for change in changes
        if change.version == number and change.action == "rolled back to"
    ]
    age = (now - max([_registered(champion), *back])).total_seconds() / SECONDS_PER_DAY
    return age if age >= settings.stale_after else None


def _is_newer(challenger: Records, champion: Records) -> bool:
    """Whether a version comes from a later log, as far as the records tell."""
    if challenger.evaluation.log == champion.evaluation.log or _registered(challenger) <= _registered(champion):
        return False
    ends = [records.trained.get_column("until") for records in (challenger, champion) if "until" in records.trained]
    if len(ends) < 2 or ends[0].dtype != ends[1].dtype:
        return True  # without a common clock, only the time of the registration tells
    together = pl.concat(ends)
    return bool(together.max() == ends[0].max())


def _registered(records: Records) -> datetime:
    return registered(records.version)


def registered(version: Version) -> datetime:
    """When a version was registered; for a refreshed one, when the version was that its weights come from."""
    tag = version.tags.get(REGISTERED_TAG)
    return datetime.fromtimestamp(version.created, UTC) if tag is None else datetime.fromisoformat(tag)
