"""What MLflow stores about one training: parameters, figures, files, and where it came from."""

import importlib.metadata
import os
import resource
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import torch

import recsys
from recsys import files
from recsys.plain_text import counted
from recsys.registry import RunRecord, Version

from .checkpoints import Checkpoint
from .description import TrainingDescription
from .evaluation import MODEL, EvaluationRecord, label
from .learning_curve import EpochResult, Progress
from .recipe import settled


def run_record(
    run: Path, training: TrainingDescription, trained: Checkpoint, evaluation: EvaluationRecord, parent: Version | None
) -> RunRecord:
    """Gather what MLflow stores about a training.

    Args:
        run: the folder of the training, with ``records`` and ``report.html``; ``environment.txt`` is written there.
        training: its dataset, configuration and recipe.
        trained: its weights and learning curve.
        evaluation: its figures on held-out users.
        parent: the champion of now, which the version is to follow.
    """
    sections = settled(training.config, training.recipe).model_dump(mode="json")
    parameters = {
        f"{section}.{key}": value
        for section, values in sections.items() if section not in ("data", "features")
        for key, value in values.items()
    }  # fmt: skip
    with files.replacing(run / "environment.txt") as temporary:
        temporary.write_text("\n".join(installed_packages()) + "\n")
    records = [(path, "records") for path in sorted((run / "records").iterdir())]
    tags = origin(run / "records", training, parent) | {"torch.version": torch.__version__}
    return RunRecord(
        parameters=parameters,
        metrics=final_metrics(evaluation, trained.progress),
        learning_curve=[epoch_metrics(epoch) for epoch in trained.progress.epochs],
        files=[*records, (run / "report.html", ""), (run / "environment.txt", "")],
        tags=tags,
        description=f"{description(training, evaluation, tags)} The run has report.html.",
        data=(training.config.data.events, training.dataset.digest),
    )


def origin(records: Path, training: TrainingDescription, parent: Version | None) -> dict[str, str]:
    """Tags that say where a version comes from; the arguments are those of ``run_record``."""
    return {
        "recsys.dataset": training.dataset.digest,
        "recsys.trained_until": last_training_event(records),
        "recsys.parent": f"version {parent.number}" if parent is not None else "none",
        "recsys.version": recsys.__version__,
        "recsys.git_commit": git_commit(),
    }


def final_metrics(evaluation: EvaluationRecord, progress: Progress) -> dict[str, float]:
    """The figures of the trained model and what its training cost."""
    seconds = sum(epoch.seconds for epoch in progress.epochs)
    space = {} if evaluation.geometry is None else asdict(evaluation.geometry)
    geometry = {f"geometry/{name}": value for name, value in space.items() if isinstance(value, float)}
    cost = {
        "system/training_seconds": seconds,
        "system/tokens_per_second": sum(epoch.tokens for epoch in progress.epochs) / max(seconds, 1e-9),
        "system/peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "system/cpus": os.cpu_count() or 0,
    }
    return {name: value for name, value in (quality(evaluation) | geometry | cost).items() if np.isfinite(value)}


def quality(evaluation: EvaluationRecord) -> dict[str, float]:
    """The figures on held-out users, as MLflow names them; none without an evaluation."""
    return {mlflow_name(name): figure.mean for name, figure in evaluation.methods.get(MODEL, {}).items()}


def epoch_metrics(epoch: EpochResult) -> dict[str, float]:
    """The finite figures of one epoch; without validation there is no score."""
    return {
        name: value for name, value in asdict(epoch).items()
        if name != "best" and value is not None and np.isfinite(value)
    }  # fmt: skip


def mlflow_name(metric: str) -> str:
    """``ndcg@10`` as MLflow allows it: ``ndcg_at_10``."""
    return metric.replace("@", "_at_")


def description(training: TrainingDescription, evaluation: EvaluationRecord, tags: dict[str, str]) -> str:
    """The version in a few sentences, as MLflow shows it."""
    name, statistics = training.config.registry.name, training.dataset.manifest.statistics
    figures = "not evaluated"
    if evaluation.methods:
        model = evaluation.headline_of(MODEL)
        baselines = ", ".join(
            f"{label(baseline)} {evaluation.headline_of(baseline).mean:.4f}" for baseline in evaluation.differences
        )
        figures = (
            f"{evaluation.headline} {model.mean:.4f} ({model.low:.4f} to {model.high:.4f}) on "
            f"{counted(evaluation.num_queries, 'held-out query', 'held-out queries')}; baselines: {baselines or 'none'}"
        )
    left_out = f" Left out: {', '.join(evaluation.left_out)}." if evaluation.left_out else ""
    return (
        f"{figures}.{left_out} Trained on {counted(statistics.training_events, 'event')} of "
        f"{counted(statistics.users, 'user')}, the last at "
        f"{tags['recsys.trained_until']}; follows {tags['recsys.parent']}. Bundle {evaluation.bundle_id[:12]}. "
        f"`recsys promote {name}` judges it, `recsys rollback {name}` goes back."
    )


def last_training_event(records: Path) -> str:
    """The time of the last event trained on, or "no clock" for unordered data."""
    trained = pl.read_parquet(records / "trained.parquet")
    return str(trained.get_column("until").max()) if "until" in trained.columns else "no clock"


def installed_packages() -> list[str]:
    """The packages that are installed, as name==version, sorted."""
    return sorted({f"{package.name}=={package.version}" for package in importlib.metadata.distributions()})


def git_commit() -> str:
    """The commit of the working directory's repository, or "unknown"."""
    try:
        result = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return result.stdout.strip() or "unknown"
