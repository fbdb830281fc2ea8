"""report.html: one self-contained page that says whether a model is good, and shows why.

To add a section, write a function from ``ReportInputs`` to HTML, whose text goes through ``escape`` (html.py), in a
module of this folder, and give it a line in ``SECTIONS``.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import recsys
from recsys.plain_text import counted
from recsys.retriever import Retriever

from ..description import TrainingDescription
from ..evaluation import EXPOSURE, MODEL, EvaluationRecord, LeftOut
from ..learning_curve import Progress
from . import convergence, data_and_config, diagnosis, map_and_users, quality, space
from .charts import label
from .diagnosis import gap, metric_name, signed, strongest_baseline, tone, verdict
from .html import card, escape, page, paragraph, verdict_banner
from .inputs import ReportInputs

SECTIONS: dict[str, Callable[[ReportInputs], str]] = {
    "Diagnosis": diagnosis.section,
    "Is it better than simple methods?": quality.comparison,
    "Where is it good, and where not?": quality.slices,
    "A few users": map_and_users.examples,
    "Training": convergence.section,
    "Geometry of the space": space.geometry,
    "Index": space.index,
    "Popularity bias": space.popularity_bias,
    "Data": data_and_config.data,
    "Configuration and versions": data_and_config.configuration,
}
_VERSION = re.compile('<span id="version">.*?</span>')


def render_report(
    records: Path, training: TrainingDescription, retriever: Retriever, progress: Progress, made_at: datetime
) -> str:
    """Write the page of a training as HTML text. The same inputs give the same text.

    Args:
        records: The folder that ``publish.write_records`` wrote.
        training: What was trained.
        retriever: The sealed bundle.
        progress: The learning curve.
        made_at: The date of the report, in UTC.
    """
    inputs, left_out = ReportInputs.read(records, training, retriever, progress, made_at), LeftOut()
    judged = verdict(inputs.evaluation)
    sections = {heading: left_out.attempt(heading, partial(section, inputs)) for heading, section in SECTIONS.items()}
    shown = left_out.attempt("the cards", partial(cards, inputs.evaluation))
    recorded = inputs.evaluation.left_out
    reasons = recorded | {
        part: why for part, why in left_out.reasons.items() if not any(map(why.endswith, recorded.values()))
    }
    return page(
        inputs.config.registry.name,
        facts(inputs),
        verdict_banner(judged.tone, judged.headline, judged.sentence) + without(reasons),
        shown or [],
        {
            heading: paragraph(f"Left out: {left_out.reasons[heading]}.") if section is None else section
            for heading, section in sections.items()
        },
        footer="Training report, written by recsys. The figures are in records/evaluation.json beside this page.",
    )


def without(reasons: dict[str, str]) -> str:
    """What the page lacks, and why. reasons: by the name of the part; empty for a complete page."""
    parts = "".join(f"<li>{escape(part)}: {escape(reason)}</li>" for part, reason in reasons.items())
    return f'<div class="left-out"><p>Left out of this report:</p><ul>{parts}</ul></div>' if reasons else ""


def bare_page(name: str, bundle_id: str, reason: str) -> str:
    """The page of a training whose report could not be written."""
    facts = {"Version": _version(name), "Bundle": f"<code>{bundle_id[:12]}</code>"}
    banner = verdict_banner("unclear", "No report", f"{reason}.")
    return page(name, facts, banner, [], {}, footer="The bundle is sealed and serves; its report could not be written.")


def facts(inputs: ReportInputs) -> dict[str, str]:
    """What identifies the training, as HTML by name."""
    statistics = inputs.dataset.manifest.statistics
    seconds = sum(result.seconds for result in inputs.progress.epochs)
    epochs = convergence.counted(len(inputs.progress.epochs))
    return {
        "Date": f"{inputs.made_at.day} {inputs.made_at:%B %Y, %H:%M} UTC",
        "Version": _version(f"{inputs.config.registry.name}, number assigned on registration"),
        "Bundle": f"<code>{inputs.retriever.bundle_id[:12]}</code>",
        "Trained": f"{convergence.duration(seconds)}, {epochs}",
        "Data": ", ".join(
            (
                counted(statistics.users, "user"),
                counted(inputs.dataset.encoder.num_items, "item"),
                counted(int(inputs.dataset.item_counts.sum()), "training event"),
            )
        ),
        "Written by": f"recsys {escape(recsys.__version__)}",
    }


def with_version(text: str, name: str, number: int) -> str:
    """The page of a model that has been registered since it was written.

    Args:
        text: The page.
        name: The registered name.
        number: The registered version.
    """
    return _VERSION.sub(lambda _: _version(f"{name} version {number}"), text, count=1)


def _version(text: str) -> str:
    return f'<span id="version">{escape(text)}</span>'


def cards(evaluation: EvaluationRecord) -> list[str]:
    """The four figures that people ask for first."""
    evaluation.require(EXPOSURE)
    headline, model = evaluation.headline, evaluation.methods[MODEL]
    rival, metric = strongest_baseline(evaluation), metric_name(headline)
    score, difference, baseline = model[headline], evaluation.differences[rival], evaluation.headline_of(rival).mean
    side = "+" if difference.mean >= 0 else "−"
    return [
        card(f"{score.mean:.4f}", metric, f"95% interval {score.low:.4f} to {score.high:.4f}"),
        card(f"{side}{gap(difference.mean, baseline)}", f"against {label(rival)}",
             f"the strongest baseline; {metric} {signed(difference.low)} to {signed(difference.high)}",
             tone(difference)),
        card(f"{model['recall@100'].mean:.1%}", "Recall@100", "held-out items among 100 candidates"),
        card(f"{evaluation.exposure[MODEL].coverage_at_10:.1%}", "Coverage@10",
             "of the catalogue in someone's top 10"),
    ]  # fmt: skip
