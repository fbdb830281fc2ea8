"""The last resort: a baseline that serves where no trained model has passed the gate yet.

Any answer is better than none, so such a baseline need not beat anything: it must load, answer as it did when it was
published, be fast enough and not fall behind the baseline that it replaces. A trained model must beat it by the
ordinary rule. Where a trained model is champion, a baseline is judged by the ordinary rule too, and only if its number
is given: nothing that runs every night lets a baseline replace a model.
"""

from collections.abc import Callable, Iterable, Iterator

from recsys.errors import InputError
from recsys.registry import Version
from recsys.retriever import GoldenAnswers

from ..evaluation import label
from .checks import at_least, holds_slices, latency
from .decision import Check
from .evidence import Evidence

BASELINE_TAG = "recsys.baseline"
LAST_RESORT_TAG = "recsys.last_resort"


def baseline_of(version: Version | None) -> str | None:
    """The label of the baseline that a version serves, such as "EASE"; None for a trained model, and for no version."""
    name = None if version is None else version.tags.get(BASELINE_TAG)
    return None if name is None else label(name)


def is_last_resort(version: Version | None) -> bool:
    """Whether a version's last promotion was as last resort."""
    return version is not None and version.tags.get(LAST_RESORT_TAG) == "true"


def stands_in(challenger: Version, champion: Version | None) -> bool:
    """Whether a version is judged as last resort: a baseline where no trained model is champion."""
    return baseline_of(challenger) is not None and (champion is None or baseline_of(champion) is not None)


def require_number(challenger: Version, champion: Version | None, number: int | None) -> None:
    """Raise InputError if a baseline would replace a trained model and nobody gave its number."""
    if number is None and baseline_of(challenger) is not None and not stands_in(challenger, champion):
        assert champion is not None
        raise InputError(
            f"{challenger.name} version {challenger.number} is the {baseline_of(challenger)} baseline, champion "
            f"{champion.number} a trained model, which a baseline replaces only by its number: "
            f"recsys promote {challenger.name} --version {challenger.number}"
        )


def answers_as_recorded(evidence: Evidence, golden: GoldenAnswers) -> Iterator[Check]:
    """The version still gives the answers that were recorded when it was published."""
    same = golden.num_repeated(evidence.challenger.retriever)
    yield at_least("recorded answers given again", same, len(golden.item_ids), form=",")


def judge_last_resort(evidence: Evidence, golden: GoldenAnswers) -> Iterator[Check]:
    """The checks of a last resort."""
    yield from answers_as_recorded(evidence, golden)
    checks: tuple[Callable[[Evidence], Iterable[Check]], ...] = (holds_slices, latency)
    for check in checks:
        yield from check(evidence)
