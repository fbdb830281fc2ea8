"""What the report says first: is the model good, and if not, where it falls short and what to try."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from recsys.config import Config
from recsys.errors import InputError
from recsys.metrics import Interval
from recsys.plain_text import counted

from ..evaluation import (
    EXPOSURE,
    FEW_QUERIES,
    FIGURES,
    MODEL,
    PARTS,
    SLICES,
    EvaluationRecord,
    collapsed,
)
from .charts import label
from .convergence import Convergence, State, judge
from .html import escape, with_code
from .inputs import ReportInputs

Tone = Literal["good", "unclear", "bad"]
ANSWERS: dict[Tone, str] = {"good": "Yes", "unclear": "Unclear", "bad": "No"}
TONES: dict[State, Tone] = {
    "converged": "good", "still improving": "unclear", "too few epochs": "unclear", "over-fitted": "unclear",
}  # fmt: skip

HUBS = 3.0  # skewness of how often items are listed
FEW_SHOWN = 0.3  # of the catalogue: hubs are harmless where more than this is shown to someone
HELPS = 1.02  # times the score without metadata


@dataclass(frozen=True)
class Verdict:
    """Whether the model is good, in one plain sentence."""

    tone: Tone
    headline: str
    sentence: str


@dataclass(frozen=True)
class Finding:
    """A question that a newcomer asks, its answer and, if there is something to try, the remedy."""

    tone: Tone
    question: str
    answer: str
    remedy: str = ""


def verdict(evaluation: EvaluationRecord) -> Verdict:
    """Judge the model by its baselines.

    "Good": every paired 95% interval of model minus baseline is above zero. "Not good yet": one is below. Else
    "undecided". "Not judged": there is nothing to judge it by.
    """
    differences = evaluation.differences
    if not differences:
        reason = evaluation.left_out.get(FIGURES, "there is no baseline to compare it with")
        return Verdict("unclear", "Not judged", f"{reason}.")
    tones = {name: tone(difference) for name, difference in differences.items()}
    order: tuple[Tone, ...] = ("bad", "unclear", "good")
    worst = next(candidate for candidate in order if candidate in tones.values())
    rival = min((name for name in differences if tones[name] == worst), key=lambda name: differences[name].mean)
    difference = differences[rival]
    strongest = rival == strongest_baseline(evaluation) and len(differences) > 1
    by = f" by {gap(difference.mean, evaluation.headline_of(rival).mean)}" if difference.mean else ""
    size = (
        f"{label(rival)}{', the strongest baseline,' if strongest else ''}{by} in {metric_name(evaluation.headline)} "
        f"on {counted(evaluation.num_queries, 'held-out query', 'held-out queries')} (95% interval of the difference "
        f"{signed(difference.low)} to {signed(difference.high)}"
    )
    side = "Ahead of" if difference.mean > 0 else "Behind" if difference.mean else "Level with"
    verdicts: dict[Tone, Verdict] = {
        "good": Verdict("good", "Good", f"Beats {size}, above zero)."),
        "bad": Verdict("bad", "Not good yet", f"Behind {size}, below zero)."),
        "unclear": Verdict("unclear", "Undecided", f"{side} {size}, which includes zero: it may be chance)."),
    }
    return verdicts[worst]


def strongest_baseline(evaluation: EvaluationRecord) -> str:
    """The baseline that the model is least ahead of."""
    return min(evaluation.differences, key=lambda name: evaluation.differences[name].mean)


def tone(difference: Interval) -> Tone:
    """What the interval of model minus baseline says."""
    return "good" if difference.low > 0 else "bad" if difference.high < 0 else "unclear"


def signed(value: float, form: str = "+.4f") -> str:
    """A number with a typographic minus."""
    return format(value, form).replace("-", "−")


def gap(difference: float, baseline: float) -> str:
    """The size of a difference: a share of the baseline, or the plain number where the baseline is zero."""
    return f"{abs(difference) / baseline:.0%}" if baseline > 0 else f"{abs(difference):.4f}"


def metric_name(metric: str) -> str:
    """``ndcg@10`` as people write it."""
    name, _, k = metric.partition("@")
    return f"{name.upper() if name in ('ndcg', 'mrr') else name.capitalize()}@{k}"


def section(inputs: ReportInputs) -> str:
    """Questions and answers, then what to try."""
    findings = diagnose(inputs)
    marks = {"good": "✓", "unclear": "?", "bad": "✗"}
    answers = "".join(
        f'<div><span class="mark {finding.tone}">{marks[finding.tone]}</span><dt>{escape(finding.question)}</dt>'
        f"<dd>{with_code(finding.answer)}</dd></div>"
        for finding in findings
    )
    remedies = dict.fromkeys(finding.remedy for finding in findings if finding.remedy)
    if not remedies:
        remedies = {f"Nothing stands out. Next: `recsys promote {inputs.config.registry.name}`.": None}
    listed = "".join(f"<li>{with_code(remedy)}</li>" for remedy in remedies)
    return f'<dl class="findings">{answers}</dl><h3>What to do next</h3><ol>{listed}</ol>'


def diagnose(inputs: ReportInputs) -> list[Finding]:
    """The questions in the order in which to ask them.

    While a training is unfinished, only its length and the baselines call for action: all else may still change.
    """
    evaluation, config = inputs.evaluation, inputs.config
    convergence = judge(inputs.progress, inputs.recipe, config.training.patience)
    trained = Finding(TONES[convergence.state], "Was it trained long enough?", convergence.sentence, convergence.advice)
    baselines = [*_against_baselines(evaluation, convergence, config)]
    checks: dict[str, Callable[[], Finding]] = {
        "Is it ahead everywhere?": lambda: _slices(evaluation),
        "Does the items' metadata help?": lambda: _metadata(evaluation, config),
        "Is the space healthy?": lambda: space(inputs),
    }
    others = [_or_reason(question, check) for question, check in checks.items()]
    if not convergence.finished:
        others = [replace(finding, remedy="") for finding in others]
    return [trained, *baselines, *others]


def _or_reason(question: str, check: Callable[[], Finding]) -> Finding:
    """The finding, or why there is none."""
    try:
        return check()
    except InputError as error:
        return Finding("unclear", question, f"Cannot be told: {error}.")


def _against_baselines(evaluation: EvaluationRecord, convergence: Convergence, config: Config) -> Iterator[Finding]:
    """One finding for each baseline. What to do about all that have the same outcome is said once."""
    tones = {name: tone(difference) for name, difference in evaluation.differences.items()}
    names = {outcome: [name for name in tones if tones[name] == outcome] for outcome in ANSWERS}
    remedies: dict[Tone, str] = {
        "good": "",
        "unclear": _when_unclear(names["unclear"], config) if convergence.finished else "",
        "bad": _when_behind(names["bad"], convergence, config),
    }
    for name, difference in evaluation.differences.items():
        answer = (
            f"{ANSWERS[tones[name]]}: {metric_name(evaluation.headline)} {signed(difference.mean)} "
            f"[{signed(difference.low)}, {signed(difference.high)}]."
        )
        yield Finding(tones[name], f"Is it better than {label(name)}?", answer, remedies[tones[name]])


def _when_unclear(baselines: list[str], config: Config) -> str:
    """How to find out whether the model is better, and what the gate does until then."""
    more = {
        "leave_one_out": "every user is a query, so only more users help",
        "temporal": "an earlier `split.test_start` gives more",
        "given": "a larger file as `split.test` gives more",
        "users": "a larger `split.test_share` gives more",
    }[config.split.kind]
    if config.data.min_user_events > 3:
        more = "`--set data.min_user_events=3` gives more"
    refused = f", and {_refused(config)} until it is not" if _required(baselines, config) else ""
    return f"The difference to {_names(baselines)} may be chance{refused}. Judge on more test queries: {more}."


def _when_behind(baselines: list[str], convergence: Convergence, config: Config) -> str:
    """What the gate does about baselines that are ahead, and how to overtake them."""
    names = _names(baselines)
    gate = f"The promotion gate does not compare with {names}, so whether to promote is your decision"
    if _required(baselines, config):
        gate = f"As long as that is so, {_refused(config)}"
    steps = [] if convergence.finished else ["train longer"]
    if not config.features.item:
        steps.append(f"let it read item metadata ({_name_columns(config)})")
    if config.data.time is None:
        steps.append("if a column of the log orders the events, name it as `data.time`")
    steps.append("train on more events: small logs favour simple methods")
    return f"{names} {'is' if len(baselines) == 1 else 'are'} ahead. {gate}. To overtake: {'; '.join(steps)}."


def _required(baselines: list[str], config: Config) -> bool:
    """Whether the gate refuses a version that fails to beat these."""
    return any(baseline in config.gate.must_beat for baseline in baselines)


def _refused(config: Config) -> str:
    return f"`recsys promote {config.registry.name}` refuses this model"


def _names(baselines: list[str]) -> str:
    return " and ".join(map(label, baselines))


def _name_columns(config: Config) -> str:
    columns = "name its columns under `[[features.item]]`"
    return columns if config.data.items else f"give a file of item metadata as `data.items` and {columns}"


def _slices(evaluation: EvaluationRecord) -> Finding:
    """Lower: below a baseline's mean, but not below its interval. Behind: below both. Small slices are not judged."""
    question, baselines = "Is it ahead everywhere?", list(evaluation.differences)
    evaluation.require(SLICES)
    if not baselines:
        raise InputError("there is no baseline to compare it with")
    if not any(entry.num_queries >= FEW_QUERIES for entry in evaluation.slices):
        raise InputError(f"no slice has {FEW_QUERIES} queries")
    behind, clearly, level = list[tuple[float, str]](), list[str](), list[str]()
    for entry in evaluation.slices:
        rival = max(baselines, key=lambda name: entry.methods[name].mean)
        ours, theirs = entry.methods[MODEL], entry.methods[rival]
        if ours.mean == theirs.mean and entry.num_queries >= FEW_QUERIES:
            level.append(f"{entry.name}, with {label(rival)}")
        if ours.mean >= theirs.mean or entry.num_queries < FEW_QUERIES:
            continue
        behind.append(
            (theirs.mean - ours.mean, f"{entry.name}: {ours.mean:.4f} against {theirs.mean:.4f} of {label(rival)}")
        )
        if ours.high < theirs.low:
            clearly.append(entry.name)
    if level and not behind:
        return Finding("unclear", question, f"Nowhere behind, but level on {'; '.join(level)}.")
    if not behind:
        return Finding("good", question, f"Yes, on every slice of {FEW_QUERIES} queries or more.")
    remedy = "Look at the slices that are behind before you promote."
    if any(name.startswith(("cold", "tail")) for name in clearly):
        remedy = "Rare and new items are placed by their metadata: name more columns under `[[features.item]]`."
    elif any(name.startswith("new users") for name in clearly):
        remedy = "New users are placed by their history and metadata: name columns under `[[features.user]]`."
    most = max(behind)[1]
    if not clearly:
        return Finding("unclear", question, f"Nowhere clearly behind. Lower on {most}, which may be chance.")
    answer = f"Behind on {most}." if len(behind) == 1 else f"Behind on {len(behind)} slices, most on {most}."
    return Finding("bad", question, answer, remedy)


def _metadata(evaluation: EvaluationRecord, config: Config) -> Finding:
    question, parts = "Does the items' metadata help?", evaluation.item_parts
    if PARTS in evaluation.left_out:
        raise InputError(evaluation.left_out[PARTS])
    if parts is None:
        answer = "The model reads none, so it cannot place items that have no events."
        return Finding("unclear", question, answer, f"To recommend new items, {_name_columns(config)}.")
    figures = (
        f"validation NDCG@10 is {parts.both:.4f} with ids and metadata, {parts.ids:.4f} with ids alone, "
        f"{parts.metadata:.4f} with metadata alone"
    )
    if parts.both > HELPS * parts.ids:
        return Finding("good", question, f"Yes: {figures}.")
    remedy = "Compare with a training without item metadata: `--set features.item=[]`."
    return Finding("unclear", question, f"Hardly, for items that have events: {figures}.", remedy)


def space(inputs: ReportInputs) -> Finding:
    """Whether the space has collapsed, and whether a few items crowd everybody's list."""
    geometry, width = inputs.evaluation.space, inputs.num_dimensions
    inputs.evaluation.require(EXPOSURE)
    coverage = inputs.evaluation.exposure[MODEL].coverage_at_10
    question, rank = "Is the space healthy?", geometry.effective_rank
    figures = (
        f"effective rank {rank:.0f} of {width}, hubness {signed(geometry.hubness, '.1f')}, {coverage:.0%} of the items "
        "in someone's top 10"
    )
    if collapse := collapsed(geometry, width):
        remedy = "Spread both sides out: `--set loss.num_negatives=4096`."
        return Finding("bad", question, f"No, it has collapsed: {collapse} ({figures}).", remedy)
    if crowded(geometry.hubness, coverage):
        remedy = "Draw popular items more often as negatives: `--set loss.popularity_exponent=0.5`."
        return Finding("unclear", question, f"A few items crowd the lists: {figures}.", remedy)
    return Finding("good", question, f"Yes: {figures}.")


def crowded(hubness: float, coverage: float) -> bool:
    """Whether a few items fill so many lists that most of the catalogue is shown to nobody."""
    return hubness > HUBS and coverage < FEW_SHOWN
