"""The end of the report: what the data was, and everything needed to train the same model again."""

import importlib.metadata
import json
import platform

import recsys
from recsys.data import BuildStatistics, LogCounts
from recsys.plain_text import counted

from ..description import TrainingDescription
from ..recipe import settled
from .html import details, escape, paragraph, preformatted, table
from .inputs import ReportInputs

QUARANTINE = {
    "no user_id": "without a user id", "no item_id": "without an item id", "no time": "without a time",
    "duplicate": "repeats of an earlier row",
}  # fmt: skip
COUNTS = {
    "users": "users", "items": "items in the catalogue", "trained_items": "items with training events",
    "training_events": "training events", "validation_queries": "validation queries", "test_queries": "test queries",
    "users_with_few_events": "users with too few events to be a query",
}  # fmt: skip
PACKAGES = {
    "torch": ("torch",), "torchrec": ("torchrec",), "polars": ("polars",), "mlflow": ("mlflow",),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs"),
}  # fmt: skip


def data(inputs: ReportInputs) -> str:
    """What was read, what was quarantined and why, and what is left."""
    return data_summary(inputs.dataset.manifest.statistics)


def data_summary(statistics: BuildStatistics) -> str:
    """The section of a dataset with these counts."""
    log, test = statistics.log, statistics.test
    sentences = [
        f"{counted(log.rows, 'row was', 'rows were')} read and {log.events:,} kept as events; {quarantine(log)}."
    ]
    if test is not None:
        sentences.append(f"The test file has {counted(test.rows, 'row')}, {test.events:,} kept; {quarantine(test)}.")
    if statistics.equal_times:
        sentences.append(
            f"{counted(statistics.equal_times, 'event has', 'events have')} the same time as their user's previous "
            "one: there the order of the file decides."
        )
    shown = {label: getattr(statistics, name) for name, label in COUNTS.items()}
    shown["cold items: in the catalogue without a training event"] = statistics.items - statistics.trained_items
    odd = statistics.item_metadata.to_json("items") | statistics.user_metadata.to_json("users")
    shown |= {name.replace("_", " "): count for name, count in sorted(odd.items())}
    rows = [[escape(name), f"{count:,}"] for name, count in shown.items()]
    return paragraph(*sentences) + table(["what is left", "number"], rows, narrow=True)


def quarantine(log: LogCounts) -> str:
    """The rejected rows in words."""
    if not log.quarantined:
        return "none had to be quarantined"
    reasons = sorted(log.quarantined.items())
    listed = ", ".join(f"{count:,} {QUARANTINE.get(reason, reason)}" for reason, count in reasons)
    return f"{counted(sum(log.quarantined.values()), 'is', 'are')} in quarantine.parquet: {listed}"


def configuration(inputs: ReportInputs) -> str:
    """The versions that ran, and all settings as TOML, with what was chosen for the data."""
    versions = {
        "recsys": recsys.__version__, "python": platform.python_version(),
        **{name: version(*names) for name, names in PACKAGES.items()},
    }  # fmt: skip
    rows = [
        ["bundle", f"<code>{inputs.retriever.bundle_id}</code>"],
        ["dataset", f"<code>{inputs.dataset.digest}</code>"],
        *([name, escape(value)] for name, value in versions.items()),
    ]
    settings = details("All settings, as TOML", preformatted(as_toml(inputs.training)))
    return table(["what", "version or digest"], rows, words=(0, 1)) + settings


def version(*packages: str) -> str:
    """The version of the first package that is installed."""
    for package in packages:
        try:
            return f"{importlib.metadata.version(package)} ({package})"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"


def as_toml(training: TrainingDescription) -> str:
    """The configuration as TOML. What it leaves open is a comment with the value chosen for the data."""
    config = training.config
    chosen, lines = settled(config, training.recipe).model_dump(mode="json"), list[str]()
    for section, values in config.model_dump(mode="json").items():
        lines.append(f"[{section}]")
        tables = {key: rows for key, rows in values.items() if isinstance(rows, list)} if section == "features" else {}
        for key, value in values.items():
            if value is None and chosen[section][key] is not None:
                lines.append(f"# {key} = {_toml(chosen[section][key])}  (chosen for the data)")
            elif value is not None and key not in tables:
                lines.append(f"{key} = {_toml(value)}")
        lines.append("")
        for key, rows in tables.items():
            for row in rows:
                lines += [f"[[{section}.{key}]]", *(f"{name} = {_toml(value)}" for name, value in row.items()), ""]
    return "\n".join(lines).strip()


def _toml(value: object) -> str:
    """A value that is a number, a truth value, a text or a list of such, as TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
