"""What the report says first: is the model good, and if not, where it falls short and what to try."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from recsys.metrics import Interval

from ..evaluation import FEW_QUERIES, MODEL, EvaluationFigures, EvaluationRecord, Geometry, ItemParts
from ..learning_curve import Progress
from ..recipe import Recipe
from .charts import label

Tone = Literal["good", "unclear", "bad"]

STILL_RISING = 1.01  # times the score a tenth of the epochs before
OVERFITTED = 0.97  # of the best validation score, at the last epoch
COLLAPSED = 0.25  # of the dimensions in use, as the effective rank counts them
HUBS = 3.0  # skewness of how often items are listed; harmless while most items are shown to someone
FEW_SHOWN = 0.3  # of the catalogue
HELPS = 1.02  # times the score without it


@dataclass(frozen=True)
class Verdict:
    """Whether the model is good, in one plain sentence."""

    tone: Tone
    word: str
    sentence: str


@dataclass(frozen=True)
class Finding:
    """One question a newcomer asks, its answer and, where there is something to try, that."""

    tone: Tone
    question: str
    answer: str
    remedy: str = ""


def verdict(evaluation: EvaluationFigures) -> Verdict:
    """Good: every paired 95% interval of model minus baseline lies above zero. Bad: one lies below. Else unclear."""
    headline, differences = evaluation.headline, evaluation.differences
    tones = {name: tone(each) for name, each in differences.items()}
    order: tuple[Tone, ...] = ("bad", "unclear", "good")
    found = next(each for each in order if each in tones.values())
    rival = min((name for name in differences if tones[name] == found), key=lambda name: differences[name].mean)
    difference = differences[rival]
    strongest = difference.mean == min(each.mean for each in differences.values()) and len(differences) > 1
    size = (
        f"{label(rival)}{', the strongest baseline,' if strongest else ''} by "
        f"{gap(difference.mean, evaluation.headline_of(rival).mean)} in {metric_name(headline)} on "
        f"{evaluation.num_queries:,} held-out queries (95% interval of the difference "
        f"{signed(difference.low)} to {signed(difference.high)}"
    )
    side = "ahead of" if difference.mean > 0 else "behind"
    words: dict[Tone, Verdict] = {
        "good": Verdict("good", "Good", f"beats {size}, above zero)."),
        "bad": Verdict("bad", "Not good yet", f"behind {size}, below zero)."),
        "unclear": Verdict("unclear", "Undecided", f"{side} {size}, holds zero: it may be chance)."),
    }
    return words[found]


def tone(difference: Interval) -> Tone:
    """What the interval of model minus baseline says."""
    return "good" if difference.low > 0 else "bad" if difference.high < 0 else "unclear"


def signed(value: float, form: str = "+.4f") -> str:
    """A number with a typographic minus."""
    return format(value, form).replace("-", "−")


def gap(difference: float, baseline: float) -> str:
    """How large a difference is: a share of the baseline, or the plain number where the baseline is at zero."""
    return f"{abs(difference) / baseline:.0%}" if baseline > 0 else f"{abs(difference):.4f}"


def metric_name(metric: str) -> str:
    """``ndcg@10`` as people write it."""
    name, _, k = metric.partition("@")
    return f"{name.upper() if name in ('ndcg', 'mrr') else name.capitalize()}@{k}"


def diagnose(evaluation: EvaluationRecord, progress: Progress, recipe: Recipe) -> list[Finding]:
    """The questions in the order in which to ask them."""
    return [
        *_against_baselines(evaluation),
        _slices(evaluation),
        _training(progress, recipe),
        _metadata(evaluation.item_parts),
        _space(evaluation.geometry, evaluation.exposure[MODEL].coverage_at_10, recipe.model.width),
    ]


def _against_baselines(evaluation: EvaluationFigures) -> Iterator[Finding]:
    few = evaluation.num_queries
    for name, difference in evaluation.differences.items():
        found = tone(difference)
        words = {"good": "Yes", "unclear": "Perhaps", "bad": "No"}
        answer = (
            f"{words[found]}: {metric_name(evaluation.headline)} {signed(difference.mean)} "
            f"[{signed(difference.low)}, {signed(difference.high)}]."
        )
        remedies = {
            "good": "",
            "unclear": f"Judge on more users: {few:,} queries leave the difference to {label(name)} open. A longer "
            "test window, or min_user_events = 1, gives more.",
            "bad": f"Serve {label(name)} until this model is ahead of it. A small log is the usual reason: add events "
            "or metadata, and see the other answers.",
        }
        yield Finding(found, f"Is it better than {label(name)}?", answer, remedies[found])


def _slices(evaluation: EvaluationFigures) -> Finding:
    """Behind: below a baseline's mean; clearly: below its interval, on enough queries."""
    question, baselines = "Is it ahead everywhere?", list(evaluation.differences)
    behind, clearly = [], []
    for entry in evaluation.slices:
        figures = entry.methods
        rival = max(baselines, key=lambda name: figures[name].mean)
        if figures[MODEL].mean >= figures[rival].mean or entry.num_queries < FEW_QUERIES:
            continue
        behind.append(f"{entry.name}: {figures[MODEL].mean:.4f}, {label(rival)} {figures[rival].mean:.4f}")
        if figures[MODEL].high < figures[rival].low:
            clearly.append(entry.name)
    if not behind:
        return Finding("good", question, f"Yes, on every slice of {FEW_QUERIES} queries or more.")
    remedy = "Look at the slices that are behind before you promote."
    if any(name.startswith(("cold", "tail")) for name in clearly):
        remedy = "Rare and new items live by their metadata: name more of their columns under [[features.item]]."
    elif any(name.startswith("new users") for name in clearly):
        remedy = "New users live by their history and columns: name what you know of them under [[features.user]]."
    return Finding("bad" if clearly else "unclear", question, f"Behind on {'; '.join(behind)}.", remedy)


def _training(progress: Progress, recipe: Recipe) -> Finding:
    question, best = "Was it trained long enough, and not too long?", progress.best_epoch
    scores = [row.score or 0.0 for row in progress.epochs]
    before, last, highest = scores[-max(2, len(scores) // 10)] if len(scores) > 1 else 0.0, scores[-1], scores[best - 1]
    if best == len(scores) == recipe.epochs and last > STILL_RISING * before:
        answer = "It was still learning when its epochs ended."
        return Finding("unclear", question, answer, f"Train longer: --set training.epochs={2 * recipe.epochs}.")
    if last < OVERFITTED * highest:
        answer = f"It over-fitted: validation fell from {highest:.4f} at epoch {best} to {last:.4f}."
        remedy = f"Hold it back: --set model.dropout={min(0.7, recipe.model.dropout + 0.2):.1f}; more events help more."
        return Finding("unclear", question, answer, remedy)
    return Finding("good", question, f"Yes: validation was best at epoch {best} of {len(scores)}, and flat around it.")


def _metadata(parts: ItemParts | None) -> Finding:
    question = "Does the items' metadata help?"
    if parts is None:
        answer = "None is read: an item without events can't be recommended."
        return Finding("unclear", question, answer, "If new items should be found, name columns of the item file "
                       "under [[features.item]].")  # fmt: skip
    figures = (
        f"validation NDCG@10 {parts.both:.4f}, by ids alone {parts.ids:.4f}, by metadata alone {parts.metadata:.4f}"
    )
    if parts.both > HELPS * parts.ids:
        return Finding("good", question, f"Yes: {figures}.")
    remedy = "Compare with a training without metadata: --set features.item=[]."
    return Finding("unclear", question, f"Hardly, for items that have events: {figures}.", remedy)


def _space(figures: Geometry, coverage: float, width: int) -> Finding:
    question, rank, hubness = "Is the space healthy?", figures.effective_rank, figures.hubness
    told = (
        f"effective rank {rank:.0f} of {width}, hubness {signed(hubness, '.1f')}, {coverage:.0%} of the items "
        "are in someone's top 10"
    )
    if rank < COLLAPSED * width:
        remedy = "Spread the items: --set loss.num_negatives=4096, or a lower loss.temperature."
        return Finding("bad", question, f"It has collapsed into few directions: {told}.", remedy)
    if hubness > HUBS and coverage < FEW_SHOWN:
        remedy = "Draw popular items more often as negatives: --set loss.popularity_exponent=0.5."
        return Finding("unclear", question, f"A few hubs fill many lists: {told}.", remedy)
    return Finding("good", question, f"Yes: {told}.")
