"""The JSON files of a folder of scores: what is scored, what each partition holds, and the totals.

``state.json`` is written first and ``manifest.json`` last. ``part-00000.json`` says that its partition is finished, and
what bytes its files have. Each of them is a pure function of the inputs, so that damage is found by comparing bytes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, JsonValue

from recsys import files
from recsys.data import LogCounts
from recsys.errors import InputError
from recsys.file_seal import FileSeal

FORMAT = 2


class ScoreState(BaseModel, frozen=True):
    """What is scored: a folder takes the scores of one state only.

    metadata: digest of the metadata that is newer than the bundle's. input: the kind of file behind ``digest``. mask:
    digest of the mask. as_of: for which time items are available, in seconds since 1970; None where the catalogue does
    not say when they are.
    """

    format: int = FORMAT
    bundle_id: str
    metadata: str | None
    k: int
    exclude_seen: bool
    input: Literal["events", "queries", "users"]
    digest: str
    mask: str | None = None
    as_of: float | None = None

    @property
    def seal(self) -> str:
        """What every file that was made from this state carries."""
        return files.digest(self.content())

    def content(self) -> dict[str, object]:
        """What is written; without limits that are not set, as earlier releases wrote it."""
        unset = {name for name in ("mask", "as_of") if getattr(self, name) is None}
        return self.model_dump(exclude=unset)

    @staticmethod
    def as_of_in(out: Path) -> float | None:
        """The time that earlier scores in a folder were made for; None if there is none."""
        path = out / "state.json"
        if not path.is_file():
            return None
        with files.input_error_if_damaged(path):
            as_of = dict(files.read_json(path)).get("as_of")
            return None if as_of is None else float(as_of)

    def claim(self, out: Path) -> None:
        """Write ``out/state.json``, or accept the same one there. Another state gives way while nothing is scored.

        Raises:
            InputError: ``out`` holds anything else.
        """
        path = out / "state.json"
        names = files.members(out)
        require_regular(out, names)
        if names and path.name not in names:
            raise InputError(f"{out} holds something other than scores; choose another --out")
        if path.name in names and any(name.startswith(("part-", "manifest")) for name in names):
            self._require_same(path)
        if path.name not in names or path.read_bytes() != files.as_json(self.content()):
            files.write_json(path, self.content())

    def _require_same(self, path: Path) -> None:
        with files.input_error_if_damaged(path):
            present = dict(files.read_json(path))
        for name, value in self:
            if present.get(name) != value:
                there, now = str(present.get(name)), str(value)
                length = 12 if there[:12] != now[:12] else None  # digests are cut, as they are everywhere else
                raise InputError(
                    f"{path.parent} holds scores of another {name} ({there[:length]}, now {now[:length]}); "
                    "give a new --out, or recsys nightly a new --night: one folder a night"
                )


def require_regular(out: Path, names: Iterable[str]) -> None:
    """Raise InputError if what should be a file of ours is a folder or a link, whose target is not ours to replace."""
    for name in sorted(names):
        path = out / name
        is_ours = not path.is_symlink() and (path.is_dir() if name == "interim" else path.is_file())
        if (name.startswith("part-") or name in ("state.json", "manifest.json", "interim")) and not is_ours:
            raise InputError(f"{path} is not what score wrote, but a link or of another kind; remove it")


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

    @property
    def rows(self) -> int:
        """Rows of the log or of the queries."""
        return self.users if self.log is None else self.log.rows

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


class PartRecord(BaseModel, frozen=True):
    """A finished partition: its counts, its files, and the seal of the state that it belongs to."""

    counts: ScoreCounts
    files: dict[str, FileSeal]
    state: str

    @staticmethod
    def of(part: Path, counts: ScoreCounts, state: ScoreState) -> "PartRecord":
        """Seal the files of ``part``, a path without an ending."""
        sealed = [part.with_suffix(ending) for ending in (".parquet", ".reasons.ndjson")]
        return PartRecord(counts=counts, files={path.name: FileSeal.of(path) for path in sealed}, state=state.seal)

    def write(self, part: Path) -> None:
        """Write ``part.json``, which declares the partition finished."""
        files.write_json(part.with_suffix(".json"), self._to_json())

    @staticmethod
    def read(part: Path, state: ScoreState) -> "PartRecord":
        """Read what ``write`` wrote, and check every byte of the partition.

        Raises:
            InputError: Something of it is missing, damaged, or belongs to another state.
        """
        path = part.with_suffix(".json")
        if not path.is_file():
            raise InputError(f"{path.name} is missing")
        with files.input_error_if_damaged(path):
            content = dict(files.read_json(path))
            counts = ScoreCounts.from_json(content["counts"])
            record = PartRecord(**content | {"counts": counts})
        if path.read_bytes() != files.as_json(record._to_json()) or content["seal"] != record.seal:
            raise InputError(f"{path.name} was changed after it was written")
        if record.state != state.seal:
            raise InputError(f"{path.name} belongs to other scores")
        faults = [seal.fault(part.with_name(name)) for name, seal in record.files.items()]
        for fault in filter(None, faults):
            raise InputError(fault)
        return record

    @property
    def seal(self) -> str:
        """The digest of the record's own content."""
        return files.digest(self._content())

    def _content(self) -> dict[str, JsonValue]:
        return self.model_dump(exclude={"counts"}) | {"counts": dict(self.counts.to_json())}

    def _to_json(self) -> dict[str, JsonValue]:
        return self._content() | {"seal": self.seal}


def manifest(out: Path, state: ScoreState, records: list[PartRecord]) -> bytes:
    """The content of ``manifest.json``: the state, the totals, and size and digest of every file of every partition."""
    totals = sum((record.counts for record in records), ScoreCounts())
    sealed = {name: seal.model_dump() for record in records for name, seal in record.files.items()}
    sealed |= {
        name: FileSeal.of(out / name).model_dump() for name in (f"{part_name(n)}.json" for n in range(len(records)))
    }
    return files.as_json(state.content() | {"totals": totals.to_json(), "files": sealed})


def part_name(number: int) -> str:
    """The name of a partition's files, without their endings."""
    return f"part-{number:05d}"


def _added(first: LogCounts | None, second: LogCounts | None) -> LogCounts | None:
    if first is None or second is None:
        return first or second
    reasons = sorted({*first.quarantined, *second.quarantined})
    return LogCounts(
        rows=first.rows + second.rows,
        events=first.events + second.events,
        quarantined={name: first.quarantined.get(name, 0) + second.quarantined.get(name, 0) for name in reasons},
    )
