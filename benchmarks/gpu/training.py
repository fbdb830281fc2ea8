"""Ml-1m end to end on a GPU, by the command line."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.rows import ROOT, Row, need, outcome
from recsys.actions import LIBRARIES
from training.evaluation import EvaluationRecord


def trainings(out: Path, events: Path) -> Iterator[Row]:
    yield Row("training", "ml-1m, end to end", "recsys run", outcome(train, out, events))


def train(out: Path, events: Path) -> str:
    """``recsys run``, in a folder of its own: a finished one would only be shown again."""
    need(*LIBRARIES)
    if not events.exists():
        return f"not run: needs the events of ml-1m at {events}, or --events PATH"
    run = Path(tempfile.mkdtemp(prefix="ml-1m-", dir=out)) / "run"
    command = [
        sys.executable, "-m", "recsys.cli", "run", "--config", "examples/ml-1m.toml", "--out", str(run.resolve()),
        "--set", f"data.events={events.resolve()}", "--set", "training.device=cuda",
        "--registry", f"sqlite:///{run.parent.resolve()}/mlflow.db",
    ]  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run(command, check=False, cwd=ROOT)
    if done.returncode:
        return f"failed: exit code {done.returncode}, the reason is in its output"
    return training_figures(run, time.perf_counter() - started)


def training_figures(run: Path, seconds: float) -> str:
    from training.checkpoints import checkpoint

    progress = checkpoint.load(run / "model.safetensors").progress
    tokens = sum(epoch.tokens for epoch in progress.epochs)
    trained = sum(epoch.seconds for epoch in progress.epochs)
    test = EvaluationRecord.read(run / "records").headline_of("model").mean
    return (
        f"{seconds:,.0f} s in all, {tokens / trained:,.0f} tokens/s over {len(progress.epochs)} epochs, "
        f"NDCG@10 validation {progress.best_score:.4f}, test {test:.4f}"
    )
