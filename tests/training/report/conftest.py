"""A small training with its records, and figures to replace its own by."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.build import build
from recsys.bundle import load_bundle
from recsys.config import parse_config
from recsys.metrics import Interval
from recsys.retriever import Retriever
from training import loop, publish
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.evaluation import SliceFigures
from training.learning_curve import Progress
from training.report.inputs import ReportInputs

TITLE = '<script>alert("1")</script> & Sons'
MADE_AT = datetime(2026, 11, 29, 8, 5, tzinfo=UTC)


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> tuple[Path, TrainingDescription, Retriever, Progress, datetime]:
    """A small training with odd titles and some rows in quarantine: the arguments of ``render_report``."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(60), 8), (np.repeat(rng.integers(0, 30, 60), 8) + np.tile(np.arange(8), 60)) % 30
    events = pl.DataFrame({"user_id": users, "item_id": items, "time": np.tile(np.arange(8), 60)})
    without_item = events.head(3).with_columns(item_id=None)
    pl.concat([events, without_item, events.head(2)]).write_parquet(folder / "events.parquet")
    genres = [["<b>odd</b>"] if item % 2 else ["even", "other"] for item in range(30)]
    titles = [TITLE] + [f"title {item}" for item in range(1, 29)] + [None]
    pl.DataFrame({"item_id": range(30), "title": titles, "genres": genres}).write_parquet(folder / "items.parquet")
    data = {"events": str(folder / "events.parquet"), "items": str(folder / "items.parquet"), "time": "time"}
    features = {"item": [{"name": "genres", "kind": "multi_categorical"}]}
    sections = {"model": {"embedding_dim": 8}, "training": {"epochs": 1}, "registry": {"name": "books & co"}}
    config = parse_config({"data": data, "features": features, **sections}, "test")
    dataset = build(config, folder / "dataset")
    (folder / "run").mkdir()
    loop.train(config, dataset, folder / "run")
    trained, description = (
        checkpoint.load(folder / "run" / "model.safetensors"),
        TrainingDescription.read(folder / "run"),
    )
    publish.seal(description, trained, folder / "bundle")
    retriever = Retriever(*load_bundle(folder / "bundle"))
    (folder / "records").mkdir()
    publish.write_records(folder / "records", retriever, dataset.queries("test"), description, trained)
    return folder / "records", description, retriever, trained.progress, MADE_AT


@pytest.fixture(scope="session")
def inputs(records) -> ReportInputs:
    return ReportInputs.read(*records)


@pytest.fixture(scope="session")
def good(inputs) -> ReportInputs:
    """Inputs whose figures all are good: ahead of every baseline, converged, metadata that helps, a healthy space."""
    evaluation = inputs.evaluation
    ahead = {name: Interval(0.01, 0.005, 0.02) for name in evaluation.differences}
    everyone = SliceFigures(
        name="head items",
        num_queries=200,
        methods={
            name: Interval(0.2, 0.1, 0.3) if name == "model" else Interval(0.1, 0.0, 0.2) for name in evaluation.methods
        },
    )
    parts = {"both": 0.2, "ids": 0.1, "metadata": 0.05}
    geometry = replace(
        evaluation.geometry, effective_rank=12.0, hubness=1.0, item_uniformity=-3.0, user_uniformity=-3.0
    )
    return replace(
        inputs,
        evaluation=evaluation.model_copy(
            update={
                "differences": ahead, "slices": (everyone,), "geometry": geometry,
                "item_parts": evaluation.item_parts.model_copy(update=parts),
            }
        ),
        progress=learning_curve([0.1, 0.18, 0.2, 0.2, 0.2, 0.2, 0.2]),
    )  # fmt: skip


def learning_curve(scores) -> Progress:
    """The progress of a training with these validation scores."""
    progress = Progress()
    for epoch, score in enumerate(scores, 1):
        progress = progress.after(loss=5.0 - epoch / 50, score=score, seconds=60.0, tokens=1000)
    return progress


@pytest.fixture(scope="session")
def curve():
    return learning_curve
