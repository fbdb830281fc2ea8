"""One night, whole: train on today's log, let the gate decide what serves, score every user, keep the last nights.

    runs/NIGHT          dataset, training, bundle and report
    recs/NIGHT          the recommendations
    recs/latest         a link to the last night whose recommendations are complete
    nights/NIGHT.json   what happened, as --json prints it

Killed at any moment and started again, a night goes on where it was.
"""

import fcntl
import json
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from .. import files
from ..errors import InputError
from ..progress import stage
from ..registry import CHAMPION, PREVIOUS, Registry, Version
from .answers import Scored, score
from .outcome import Outcome, next_command
from .pipeline import RunFinished, Settings, publish, run
from .versions import Promoted, promote

NIGHT = re.compile(r"(?!latest$)[A-Za-z0-9][\w.-]{0,99}")
logger = logging.getLogger(__name__)
EXIT_CODES = {"promoted": 0, "refused": 3, "last resort": 4}


class Night(Outcome, frozen=True):
    """What a night did.

    serves: "promoted", the night's model; "refused", the champion of before; "last resort", a baseline, since no model
    has passed the gate. version: the one that serves. promotion: the decision about the model; last_resort: about the
    baseline, if one was published. latest: the link to the recommendations. removed: the nights that were deleted.
    """

    night: str
    serves: Literal["promoted", "refused", "last resort"]
    name: str
    version: int
    baseline: str | None
    run: RunFinished
    promotion: Promoted
    last_resort: Promoted | None
    scores: Scored
    latest: Path
    removed: list[str]

    def lines(self) -> list[str]:
        """What each step said, and in the end what serves."""
        steps = [self.run, self.promotion, self.last_resort, self.scores]
        told = {
            "promoted": f"version {self.version} was promoted and serves",
            "refused": f"version {self.promotion.version} was refused, champion {self.version} still serves",
            "last resort": (
                f"no model has passed the gate: version {self.version}, the {self.baseline} baseline, serves as last "
                "resort"
            ),
        }
        kept = [f"deleted: {', '.join(self.removed)}"] if self.removed else []
        return [
            *(line for step in steps if step is not None for line in step.lines()),
            *kept,
            f"night {self.night}: {told[self.serves]}; {self.latest} has its recommendations",
        ]


def nightly(
    config: Path, events: str, night: str, out: Path, keep: int, settings: Settings, registry: str | None
) -> Night:
    """Do one night, or what is left of it."""
    if not NIGHT.fullmatch(night):
        raise InputError(
            f"--night is {night!r}; expected a name such as 2026-11-25, of at most 100 letters, digits, "
            "dots and hyphens"
        )
    if keep < 1:
        raise InputError(f"--keep is {keep}; expected at least 1, the night itself")
    latest = out / "recs" / "latest"
    if latest.exists() and not latest.is_symlink():
        raise InputError(f"{latest} is no link; expected a link to the last night, or nothing: move it away")
    with _alone(out):
        summary = out / "nights" / f"{night}.json"
        if not summary.exists():  # from now on runs/NIGHT and recs/NIGHT are known as ours
            files.write_json(summary, {"night": night, "serves": None})
        finished = run(config, out / "runs" / night, [*(settings or []), f"data.events={json.dumps(events)}"], registry)
        gate = _gate(config, settings)
        with stage("choose which version serves"):
            promotion = promote(finished.name, finished.version, False, gate, registry)
            resort = _last_resort(finished, gate, registry)
            champion = _champion(finished.name, resort, registry)
        model = f"models:/{finished.name}@champion"
        scores = score(
            model, out / "recs" / night, events=events, queries=None, items=None, users=None, k=100, exclude_seen=True,
            mask=None, device="auto", registry=registry,
        )  # fmt: skip
        _point(latest, night)
        outcome = _outcome(night, finished, promotion, resort, champion, scores, latest)
        removed = _remove_old(out, keep, night, finished.name, registry)
        outcome = outcome.model_copy(
            update={"removed": removed, "next": next_command("history", finished.name, registry=registry)}
        )
        files.write_json(summary, outcome.model_dump(mode="json"))
        return outcome


def _gate(config: Path, settings: Settings) -> list[str]:
    """Tonight's settings of the gate: a version that was registered on another night carries the settings of then."""
    from ..config import load_config

    wanted = load_config(config, tuple(settings or ())).gate.model_dump(mode="json")
    return [f"gate.{key}={json.dumps(value)}" for key, value in wanted.items()]


def _last_resort(finished: RunFinished, gate: list[str], registry: str | None) -> Promoted | None:
    """Publish and promote a baseline of tonight's data, unless a trained model or a later night's baseline serves."""
    from training.choose_baseline import best_baseline
    from training.promotion import baseline_of

    champion = Registry(registry).version(finished.name, CHAMPION)
    if champion is not None and baseline_of(champion) is None:
        return None
    published = publish(finished.run, best_baseline(finished.run), None, registry)
    if champion is not None and published.version < champion.number:
        return None
    return promote(finished.name, published.version, False, gate, registry)


def _champion(name: str, resort: Promoted | None, registry: str | None) -> Version:
    champion = Registry(registry).version(name, CHAMPION)
    if champion is None:
        reason = "" if resort is None else f": version {resort.version} was {resort.verdict}"
        raise InputError(
            f"{name} has no champion, and neither the night's model nor the baseline passed the gate{reason}; look at "
            f"`recsys promote {name} --dry-run`, and relax what does not fit the data"
        )
    return champion


def _outcome(
    night: str,
    finished: RunFinished,
    promotion: Promoted,
    resort: Promoted | None,
    champion: Version,
    scores: Scored,
    latest: Path,
) -> Night:
    from training.promotion import baseline_of

    baseline = baseline_of(champion)
    serves: Literal["promoted", "refused", "last resort"] = "promoted" if promotion.promoted else "refused"
    if baseline is not None:
        serves = "last resort"
    return Night(
        night=night, serves=serves, name=finished.name, version=champion.number, baseline=baseline, run=finished,
        promotion=promotion, last_resort=resort, scores=scores, latest=latest, removed=[],
        exit_code=EXIT_CODES[serves],
    )  # fmt: skip


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the lock of the folder; the operating system releases it when the process ends, however it ends."""
    (out / "nights").mkdir(parents=True, exist_ok=True)
    with (out / "nights" / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another night is running in {out}; wait until it has ended") from error
        yield


def _point(link: Path, target: str) -> None:
    """Make a link, or let it point elsewhere, in one step: a reader sees the old target or the new one."""
    temporary = link.with_name(f".{link.name}.partial")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def _remove_old(out: Path, keep: int, tonight: str, name: str, registry: str | None) -> list[str]:
    """Delete the folders of all but the last nights; returns their names. Summaries stay.

    Args:
        out: the folder of the nights.
        keep: how many to keep.
        tonight: the night that ``recs/latest`` points to.
        name: the model, the runs of whose champion and previous champion are kept in any case.
        registry: where they are.
    """
    serving = [Registry(registry).version(name, alias) for alias in (CHAMPION, PREVIOUS)]
    bundle_ids = {version.bundle_id for version in serving if version is not None}
    summaries = sorted((out / "nights").glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    others = [path.stem for path in summaries if path.stem != tonight]
    removed = []
    for night in others[keep - 1 :]:
        old = [out / "recs" / night]
        if not _holds_one_of(out / "runs" / night, bundle_ids):
            old.append(out / "runs" / night)
        present = [folder for folder in old if folder.is_dir() and not folder.is_symlink()]
        try:
            for folder in present:
                shutil.rmtree(folder)
        except OSError as error:
            logger.warning("night %s cannot be deleted: %s", night, error)
            continue
        removed += [night] if present else []
    return removed


def _holds_one_of(run_folder: Path, bundle_ids: set[str]) -> bool:
    """Whether a run's folder holds one of these bundles, as its model's or a baseline's, or nobody can tell."""
    try:
        for path in run_folder.glob("**/records/bundle.json"):
            with files.input_error_if_damaged(path):
                if files.read_json(path)["bundle_id"] in bundle_ids:
                    return True
        return False
    except (OSError, InputError) as error:
        logger.warning("%s is kept: %s", run_folder, error)
        return True
