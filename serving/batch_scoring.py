"""Batch scoring: a log in, Parquet files of recommendations out, in bounded memory and safe to kill at any moment.

    state.json                what is scored: bundle, inputs, settings; anything else needs another folder
    part-00000.parquet        user_id, item_id, rank, score
    part-00000.reasons.ndjson user_id, count, reason: who got fewer than k or a fallback, and why
    part-00000.json           counts, sizes and digests of the two; the partition is finished
    manifest.json             state, totals, sizes and digests of all files of all partitions; written last
    interim/                  the input, partitioned by user; removed at the end

A partition is a set of users, chosen by a digest of their id. Every file is a pure function of the inputs and is
written whole or not at all. A second start checks every byte of what is there, continues where the first one ended, and
writes again what is missing or damaged. The flags of ``recsys score`` are declared in recsys/cli.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recsys import files
from recsys.answers import Availability, Mask
from recsys.data import require_outside
from recsys.errors import InputError
from recsys.progress import stage
from recsys.retriever import Retriever

from .interim import prepare_interim
from .partition import ScoreJob, limited_to, score_partition
from .records import PartRecord, ScoreCounts, ScoreState, manifest, part_name
from .sources import Role, Source, open_log, open_queries, open_users

logger = logging.getLogger(__name__)

OnPartition = Callable[[list[str]], None]

OPEN: dict[Role, Callable[[Retriever, str], Source]] = {
    "events": open_log, "queries": open_queries, "users": open_users,
}  # fmt: skip


ScoreAll = Callable[[Sequence[int]], Iterable[PartRecord]]  # numbers of partitions to their records, in this order
RunPartitions = Callable[[ScoreJob, Retriever], AbstractContextManager[ScoreAll]]


@contextmanager
def in_this_process(job: ScoreJob, retriever: Retriever) -> Iterator[ScoreAll]:
    """Score one partition after the other."""
    yield partial(map, partial(score_partition, retriever, job))


@dataclass(frozen=True)
class Scores:
    """What a folder of scores holds. repaired: what was missing or damaged there and was written again."""

    totals: ScoreCounts
    repaired: list[str]


def score(
    retriever: Retriever, out: Path, *, events: str | None = None, queries: str | None = None,
    users: str | None = None, k: int = 100, exclude_seen: bool = True, mask: Mask | None = None,
    on_partition: OnPartition | None = None, run: RunPartitions = in_this_process,
) -> Scores:  # fmt: skip
    """Write ``out/part-*.parquet`` (user_id, item_id, rank, score) for every user of a log, of queries or of a table.

    Args:
        retriever: What answers.
        out: The folder to write; the same inputs continue in it.
        events: A log, read whole, without a minimum number of events per user. Either this, ``queries`` or ``users``.
        queries: Parquet of user_id and history, scored as they are.
        users: A table of users without a history, whose columns the retriever has been loaded with.
        k: Recommendations per user.
        exclude_seen: Leave out the items of a user's history.
        mask: Items that nobody gets. Items that are not available at the time of the first start
            (recsys/answers/availability.py) are left out, too.
        run: What scores the partitions.
        on_partition: Called with the names of a partition's files as soon as they are there.

    Returns:
        The totals of ``out/manifest.json``. Ids in the files have the types of the input.

    Raises:
        InputError: Bad input, also one that changes while it is read, or ``out`` holds something else.
    """
    role, location = _input(events, queries, users)
    if k < 1:
        raise InputError(f"k is {k}; expected at least 1")
    require_outside(out, events=events, queries=queries, users=users)
    with files.adding_to(out) as folder:
        with stage(f"read the {role}"):
            source = OPEN[role](retriever, location)
            retriever, as_of = _limited(retriever, folder, mask)
            state = ScoreState(
                bundle_id=retriever.bundle_id, metadata=retriever.metadata_digest, k=k, exclude_seen=exclude_seen,
                input=source.role, digest=source.digest, as_of=as_of,
                mask=None if mask is None else files.digest(mask.model_dump(mode="json")),
            )  # fmt: skip
            with _claimed(folder, state):
                found = _intact_parts(folder, source, state)
                if len(found.records) < source.num_partitions:
                    prepare_interim(folder / "interim", state.seal, source.copy)
                source.require_unchanged()
        with stage("score"):
            job = ScoreJob(folder, state, source.user_type, source.item_type, source.num_partitions)
            with run(job, retriever) as score_all:
                return _finished(folder, source, state, found, score_all(_missing(source, found)), on_partition)


def _limited(retriever: Retriever, folder: Path, mask: Mask | None) -> tuple[Retriever, float | None]:
    """The retriever without masked items and, where the catalogue says when items are available, as of a time.

    The time is that of the first start in this folder; None where the catalogue says nothing.
    """
    as_of = None
    if Availability.limits(retriever.bundle.items):
        as_of = ScoreState.as_of_in(folder) or time.time()
    return limited_to(retriever, as_of, mask), as_of


def _input(events: str | None, queries: str | None, users: str | None) -> tuple[Role, str]:
    """What is scored, and where it is."""
    named: dict[Role, str | None] = {"events": events, "queries": queries, "users": users}
    present = [(role, location) for role, location in named.items() if location is not None]
    if len(present) != 1:
        raise InputError("give either --events (a log), --queries (user_id, history) or --users alone (no history)")
    return present[0]


@contextmanager
def _claimed(folder: Path, state: ScoreState) -> Iterator[None]:
    """Claim a folder for a state; let go of it after a failure, unless something was scored or read."""
    state.claim(folder)
    try:
        yield
    except BaseException:
        if files.members(folder) <= {"state.json"}:
            (folder / "state.json").unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class _Found:
    """What earlier runs left. records: of the intact partitions, by number. faults: what is missing or damaged."""

    records: dict[int, PartRecord]
    faults: list[str]


def _intact_parts(folder: Path, source: Source, state: ScoreState) -> _Found:
    """Check every byte of the finished partitions. Raises InputError if there is a part that is none of them."""
    records, faults, finished = {}, [], (folder / "manifest.json").exists()
    parts = [folder / part_name(number) for number in range(source.num_partitions)]
    expected = {f"{part.name}{ending}" for part in parts for ending in (".parquet", ".reasons.ndjson", ".json")}
    for entry in sorted(folder.glob("part-*")):
        if entry.name not in expected:
            raise InputError(f"{entry} is none of the {len(parts)} parts of these scores; remove it")
    for number, part in enumerate(parts):
        if finished or part.with_suffix(".json").exists():
            try:
                records[number] = PartRecord.read(part, state)
            except InputError as fault:
                logger.warning("partition %d is scored again: %s", number, fault)
                faults.append(str(fault))
    if finished and faults:
        (folder / "manifest.json").unlink()  # it declares finished what is not
    return _Found(records, faults)


def _missing(source: Source, found: _Found) -> list[int]:
    return [number for number in range(source.num_partitions) if number not in found.records]


def _finished(
    folder: Path, source: Source, state: ScoreState, found: _Found, written: Iterable[PartRecord],
    on_partition: OnPartition | None,
) -> Scores:  # fmt: skip
    """Score what is left, declare the folder finished, and remove what only the scoring needed."""
    users = sum(record.counts.users for record in found.records.values())
    for number, record in zip(_missing(source, found), written, strict=True):
        found.records[number] = record
        if on_partition is not None:
            on_partition([*record.files, f"{part_name(number)}.json"])
        users += record.counts.users
        logger.info("%s users scored, %d of %d partitions", f"{users:,}", number + 1, source.num_partitions)
    records = [found.records[number] for number in range(source.num_partitions)]
    totals = sum((record.counts for record in records), ScoreCounts())
    if totals.rows != source.num_rows:
        raise InputError(f"{folder} has scores of {totals.rows:,} of {source.num_rows:,} rows; choose another --out")
    path, content, repaired = folder / "manifest.json", manifest(folder, state, records), found.faults
    if path.exists() and path.read_bytes() != content:
        repaired = [*repaired, f"{path.name} was changed after it was written"]
        logger.warning("it is written again: %s", repaired[-1])
    if repaired or not path.exists():
        with files.replacing(path) as temporary:
            temporary.write_bytes(content)
    for unneeded in (folder / "interim", *folder.glob(".*.partial")):
        files.discard(unneeded)
    return Scores(totals, repaired)
