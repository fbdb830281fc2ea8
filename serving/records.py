"""The JSON files of a folder of scores: what is scored, what each partition holds, and the totals.

``state.json`` is written first and ``manifest.json`` last; ``part-00000.json`` says that its partition is finished.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from recsys import files
from recsys.data import LogCounts
from recsys.errors import InputError

FORMAT = 1


class ScoreState(BaseModel, frozen=True):
    """What is scored: a folder takes the scores of one state only.

    metadata: digest of the metadata that is newer than the bundle's. input: the kind of file behind ``digest``.
    """

    format: int = FORMAT
    bundle_id: str
    metadata: str | None
    k: int
    exclude_seen: bool
    input: Literal["events", "queries"]
    digest: str

    def claim(self, out: Path) -> None:
        """Write ``out/state.json``, or accept the same one there.

        Raises:
            InputError: ``out`` holds anything else.
        """
        path = out / "state.json"
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file; choose another --out")
        if path.exists():
            with files.input_error_if_damaged(path):
                present = dict(files.read_json(path))
            for name, value in self:
                if present.get(name) != value:
                    raise InputError(
                        f"{out} holds scores of another {name} ({_short(present.get(name))}, now {_short(value)}); "
                        "give a new --out: one folder a night"
                    )
        elif out.exists() and any(not entry.name.startswith(".state.json.") for entry in out.iterdir()):
            raise InputError(f"{out} holds something other than scores; choose another --out")
        else:
            files.write_json(path, self.model_dump())


class ScoreCounts(BaseModel, frozen=True):
    """What was written for a partition, or for all of them. On disk it is one flat object.

    users: scored. recommendations: rows written. fallback: users who got the most popular items. short: users who got
    fewer than k. log: what happened to the rows of the log; None where queries are scored.
    """

    users: int = 0
    recommendations: int = 0
    fallback: int = 0
    short: int = 0
    log: LogCounts | None = None

    def __add__(self, other: "ScoreCounts") -> "ScoreCounts":
        own = {name: count + getattr(other, name) for name, count in self if name != "log"}
        return ScoreCounts(**own, log=_added(self.log, other.log))

    def to_json(self) -> dict[str, int]:
        """The counts by their names on disk."""
        return self.model_dump(exclude={"log"}) | (self.log.to_json() if self.log is not None else {})

    @staticmethod
    def from_json(counts: dict[str, int]) -> "ScoreCounts":
        """The inverse of ``to_json``."""
        log = LogCounts.from_json(counts) if "rows" in counts else None
        return ScoreCounts(**{name: counts[name] for name in ScoreCounts.model_fields if name in counts}, log=log)

    def write(self, path: Path) -> None:
        """Write ``path``, which declares a partition finished."""
        files.write_json(path, self.to_json())

    @staticmethod
    def read(path: Path) -> "ScoreCounts":
        """Read what ``write`` wrote."""
        with files.input_error_if_damaged(path):
            return ScoreCounts.from_json(files.read_json(path))


def write_manifest(out: Path, state: ScoreState, totals: ScoreCounts) -> None:
    """Write ``out/manifest.json``, which declares all partitions finished."""
    files.write_json(out / "manifest.json", state.model_dump() | {"totals": totals.to_json()})


def read_totals(out: Path) -> ScoreCounts | None:
    """The totals of a finished folder of scores; None where it is not finished."""
    path = out / "manifest.json"
    with files.input_error_if_damaged(path):
        return ScoreCounts.from_json(files.read_json(path)["totals"]) if path.exists() else None


def _added(first: LogCounts | None, second: LogCounts | None) -> LogCounts | None:
    if first is None or second is None:
        return first or second
    reasons = sorted({*first.quarantined, *second.quarantined})
    return LogCounts(
        rows=first.rows + second.rows,
        events=first.events + second.events,
        quarantined={name: first.quarantined.get(name, 0) + second.quarantined.get(name, 0) for name in reasons},
    )


def _short(value: object) -> str:
    """A value as people read it: digests are cut, as they are everywhere else."""
    return str(value)[:12]
