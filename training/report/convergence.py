"""How the training went: one judgement, from which everything that the report says about it is derived."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from ..learning_curve import Progress
from ..recipe import Recipe
from . import charts
from .html import drawn, paragraph
from .inputs import ReportInputs

State = Literal["still improving", "converged", "over-fitted", "too few epochs"]

RECENT = 0.2  # the last epochs, as a share of all: what they add decides whether more would add anything
STILL_IMPROVING = 1.01  # times the best score before them
OVER_FITTED = 0.97  # of the best score: validation noise alone rarely costs more
FEW_EPOCHS = 5  # with fewer, the curve has no shape yet
SUSTAINED = 3  # epochs: what lasts less long may be noise
MAX_DROPOUT = 0.7


@dataclass(frozen=True)
class Convergence:
    """The judgement of a learning curve. advice: what to change, empty where nothing needs to."""

    state: State
    sentence: str
    advice: str = ""

    @property
    def finished(self) -> bool:
        """Whether the other figures are those of a model that has learned what it can."""
        return self.state in ("converged", "over-fitted")


def judge(progress: Progress, recipe: Recipe, patience: int) -> Convergence:
    """Judge the validation scores of a training of one epoch or more.

    "Still improving": one of the last epochs is the best by a margin. "Over-fitted": the last epochs all scored clearly
    below an earlier one. "Too few epochs": neither can be told yet. Else "converged".
    """
    scores, best = [result.score or 0.0 for result in progress.epochs], progress.best_epoch
    num_epochs, highest, last = len(scores), scores[best - 1], scores[-1]
    recent = min(num_epochs - 1, max(2, round(RECENT * num_epochs)))
    lately = f"the last {counted(recent)}" if recent > 1 else "the last epoch"
    before = max(scores[: num_epochs - recent])
    since_best = num_epochs - best
    longer = _longer(num_epochs, since_best, patience)
    if recent and since_best < SUSTAINED and highest > STILL_IMPROVING * before:
        sentence = (
            f"It was still improving when it ended: {lately} raised validation NDCG@10 from "
            f"{before:.4f} to {highest:.4f}."
        )
        return Convergence("still improving", sentence, f"Train longer: {longer}.")
    if num_epochs < FEW_EPOCHS or highest == 0:
        sentence = f"After {counted(num_epochs)} and a validation NDCG@10 of {highest:.4f} it is too early to tell."
        return Convergence("too few epochs", sentence, f"Train longer: {longer}.")
    if since_best >= SUSTAINED and max(scores[-SUSTAINED:]) < OVER_FITTED * highest:
        sentence = (
            f"It over-fitted: validation NDCG@10 fell from {highest:.4f} in epoch {best} to {last:.4f} in epoch "
            f"{num_epochs}."
        )
        return Convergence("over-fitted", sentence, _restrain(recipe))
    if last < OVER_FITTED * highest and since_best < SUSTAINED:
        sentence = (
            f"It is too early to tell: validation NDCG@10 fell from {highest:.4f} to {last:.4f} in the last "
            f"{counted(since_best)}."
        )
        return Convergence("too few epochs", sentence, f"Train longer: {longer}.")
    sentence = f"It converged: validation NDCG@10 was best in epoch {best} of {num_epochs}, with {highest:.4f}"
    added = ""
    if highest > STILL_IMPROVING * before:  # and then nothing, for SUSTAINED epochs or more
        added = f"; the last {counted(since_best)} added nothing"
    elif best > num_epochs - recent:
        added = f"; the last {counted(recent)} added less than {STILL_IMPROVING - 1:.0%}"
    return Convergence("converged", f"{sentence}{added}.")


def counted(epochs: int) -> str:
    """A number of epochs in words."""
    return f"{epochs} epoch{'s' if epochs != 1 else ''}"


def _longer(num_epochs: int, since_best: int, patience: int) -> str:
    """The setting that ended the training, with a larger value."""
    if since_best >= patience:
        return f"`--set training.patience={max(20, 2 * patience)}`"
    return f"`--set training.epochs={max(10, 2 * num_epochs)}`"


def _restrain(recipe: Recipe) -> str:
    """What makes a model learn less by heart."""
    dropout = recipe.model.dropout
    if dropout < MAX_DROPOUT:
        setting = f"model.dropout={min(MAX_DROPOUT, dropout + 0.2):.1f}"
    else:
        setting = f"training.learning_rate={recipe.learning_rate / 2:g}"
    return f"Train again with `--set {setting}`; more events help more."


def section(inputs: ReportInputs) -> str:
    """The learning curve and what it says."""
    progress, recipe = inputs.progress, inputs.recipe
    epochs, best = progress.epochs, progress.best_epoch
    curves = "".join(
        f"<div><h3>{title}</h3>{drawn(partial(charts.curve, epochs, values, title, form=form, best_epoch=best))}</div>"
        for title, values, form in (
            ("Loss", [result.loss for result in epochs], ".2f"),
            ("Validation NDCG@10", [result.score or 0.0 for result in epochs], ".3f"),
            ("Training tokens/s", [result.tokens / result.seconds for result in epochs], ",.0f"),
        )
    )
    seconds, tokens = sum(result.seconds for result in epochs), sum(result.tokens for result in epochs)
    judged = judge(progress, recipe, inputs.config.training.patience)
    refit = (
        f"The weights that serve come from a second training of {counted(best)}, on training and validation events "
        "together, so they have no validation score. The test events were in neither training."
    )
    return f'<div class="curves">{curves}</div>' + paragraph(
        judged.sentence,
        f"Epoch {best} (green) {'set the length of the refit' if recipe.refit else 'is what serves'}.",
        judged.advice,
    ) + paragraph(
        *([refit] if recipe.refit else []),
        f"{counted(len(epochs)).capitalize()} took {duration(seconds)} without validation: {tokens / seconds:,.0f} "
        "tokens/s.",
    )  # fmt: skip


def duration(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} seconds" if seconds >= 1.5 else f"{seconds:.1f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"
