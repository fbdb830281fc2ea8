"""What MLflow records about one training."""

import importlib.metadata
import os
import resource
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import recsys
from recsys import files
from recsys.registry import RunRecord, Version

from .checkpoint import Checkpoint
from .description import TrainingDescription
from .evaluation import evaluate
from .recipe import settled


def run_record(
    run: Path, training: TrainingDescription, trained: Checkpoint, evaluation: dict[str, Any], parent: Version | None
) -> RunRecord:
    """What MLflow keeps of this training. parent: the champion of now, which the version is to follow."""
    config, dataset, sections = training.config, training.dataset, settled(training.config, training.recipe)
    parameters = {
        f"{section}.{key}": value
        for section, values in sections.items() if section not in ("data", "features")
        for key, value in values.items()
    }  # fmt: skip
    figures, epochs = evaluation["methods"][evaluate.MODEL], trained.progress.epochs
    seconds = sum(epoch.seconds for epoch in epochs)
    metrics = {name.replace("@", "_at_"): figure["mean"] for name, figure in figures.items()}
    metrics |= {f"geometry/{name}": value for name, value in evaluation["geometry"].items() if np.isfinite(value)}
    metrics |= {
        "system/training_seconds": seconds, "system/tokens_per_second": sum(epoch.tokens for epoch in epochs) / seconds,
        "system/peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "system/cpus": os.cpu_count() or 0,
    }  # fmt: skip
    curves = [
        {name: value for name, value in asdict(epoch).items() if name != "best" and value is not None}
        for epoch in epochs
    ]
    stored = [(path, "records") for path in sorted((run / "records").iterdir())]
    with files.replacing(run / "environment.txt") as temporary:
        temporary.write_text("\n".join(installed()) + "\n")
    until = pl.read_parquet(run / "records" / "trained.parquet")
    cut = str(until.get_column("until").max()) if "until" in until.columns else "no clock"
    tags = {
        "recsys.dataset": dataset.digest,
        "recsys.trained_until": cut,
        "recsys.parent": f"version {parent.number}" if parent is not None else "none",
        "recsys.version": recsys.__version__,
        "recsys.git_commit": git_commit(),
        "torch.version": torch.__version__,
    }
    headline, statistics = evaluation["headline"], dataset.manifest.statistics
    interval = figures[headline]
    rivals = ", ".join(
        f"{name.replace('_', '-')} {evaluation['methods'][name][headline]['mean']:.4f}"
        for name in evaluation["differences"]
    )
    description = (
        f"{headline} {interval['mean']:.4f} ({interval['low']:.4f} to {interval['high']:.4f}) on "
        f"{evaluation['num_queries']:,} held-out queries; beside it {rivals}. Trained on "
        f"{statistics.training_events:,} events of {statistics.users:,} users, the last at {cut}; follows "
        f"{tags['recsys.parent']}. Bundle {evaluation['bundle_id'][:12]}. The run has report.html; `recsys promote "
        f"{config.registry.name}` judges it, `recsys rollback {config.registry.name}` goes back."
    )
    kept = [*stored, (run / "report.html", ""), (run / "environment.txt", "")]
    return RunRecord(parameters, metrics, curves, kept, tags, description, (config.data.events, dataset.digest))


def installed() -> list[str]:
    """What is installed here, name==version, sorted."""
    return sorted({f"{each.name}=={each.version}" for each in importlib.metadata.distributions()})


def git_commit() -> str:
    """The commit of the working directory's repository, or "unknown"."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"
