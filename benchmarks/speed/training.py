"""Training and its batches: histories of up to 200, d = 64, two blocks; the same number of real tokens for all.

A real token is a place that predicts: padding does not count. ``batches`` goes over the batches without a model.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.speed.race import Answer, Contestant, enter

LENGTH, DIM, BLOCKS, HEADS, USERS, NEGATIVES = 200, 64, 2, 2, 128, 256
ARROW = {
    "ARROW_NUM_THREADS": str(os.cpu_count()), "ARROW_IO_THREADS": str(os.cpu_count()),
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
}  # fmt: skip
TRAINING = (
    Contestant("ours, one member", "ours", peer=False, settings={"num_members": 1}),
    Contestant("ours, two members as by default", "ours", peer=False, settings={"num_members": 2}),
    Contestant("RecTools, full softmax", "rectools", settings={"loss": "softmax"}),
    Contestant("RecTools, sampled softmax", "rectools", settings={"loss": "sampled_softmax"}),
)
BATCHES = (
    Contestant("ours", "our_batches", peer=False),
    Contestant("RecTools", "rectools_batches", settings={"num_workers": 0}),
    Contestant("RecTools, two loader processes", "rectools_batches", settings={"num_workers": 2}),
    Contestant("RePlay, Parquet", "replay_batches", settings={"tuned": False}),
    Contestant("RePlay, Parquet, threads as advised", "replay_batches", variables=ARROW, settings={"tuned": True}),
)


def ours(events: str, num_tokens: int, num_members: int) -> Iterator[Answer | None]:
    with tempfile.TemporaryDirectory() as folder:
        state, objective, loader, device = started(events, folder, num_members=num_members)
        done = 0
        yield None
        for step in endless_steps(loader, device):
            state.step(objective(state.model, step))
            done += len(step.labels)
            if done >= num_tokens:
                break
        yield None
        yield {"figures": {"tokens": done}}


def started(events: str, folder: str, *, num_members: int, batch_tokens: int | None = None) -> tuple[Any, ...]:
    """Our state, objective, loader and device before the first step."""
    import torch

    from recsys.model import TwoTower
    from training.batches.loader import make_loader
    from training.description import TrainingDescription
    from training.device import choose_device, use_deterministic_algorithms
    from training.objective import Objective
    from training.state import TrainingState

    use_deterministic_algorithms()
    device = choose_device("auto")
    config, dataset = built(events, folder, num_members, batch_tokens)
    description = TrainingDescription.of(config, dataset)
    recipe, loader = description.recipe, make_loader(description)
    torch.manual_seed(0)
    model = TwoTower(recipe.model).to(device).train()
    state = TrainingState(model, recipe.learning_rate, recipe.weight_decay, config.training.average_decay)
    return state, Objective(description, loader, device), loader, device


def endless_steps(loader: Any, device: Any) -> Iterator[Any]:
    """The steps of one epoch after another, where they are computed."""
    from training.batches import steps_on

    for epoch in itertools.count(1):
        yield from steps_on(device, loader.epoch(epoch))


def our_batches(events: str) -> Iterator[Answer | None]:
    from training.batches.loader import make_loader
    from training.description import TrainingDescription

    with tempfile.TemporaryDirectory() as folder:
        config, dataset = built(events, folder, 1)
        loader = make_loader(TrainingDescription.of(config, dataset))
        yield None
        done = sum(len(step.labels) for step in loader.epoch(1))
        yield None
        yield {"tokens": float(done)}


def built(events: str, folder: str, num_members: int, batch_tokens: int | None = None) -> tuple[Any, Any]:
    """Config and dataset of a log with the columns user_id, item_id and position."""
    from features.build import build
    from recsys.config import parse_config

    tree = {
        "data": {"events": events, "time": "position", "catalogue": "events"},
        "model": {"max_history": LENGTH, "num_members": num_members, "embedding_dim": DIM},
        "training": {"batch_tokens": batch_tokens},
    }
    config = parse_config(tree, "training")
    return config, build(config, Path(folder) / "dataset")


def rectools(events: str, num_tokens: int, loss: str) -> Iterator[Answer | None]:
    from pytorch_lightning import Trainer

    model, loader, per_batch = prepared(events, loss)
    steps = max(1, round(num_tokens / per_batch))
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, logger=False,
        enable_checkpointing=False,
    )  # fmt: skip
    yield None
    trainer.fit(model.lightning_model, loader)
    yield None
    yield {"figures": {"tokens": steps * per_batch}}


def rectools_batches(events: str, num_workers: int) -> Iterator[Answer | None]:
    _, loader, per_batch = prepared(events, "softmax", num_workers)
    yield None
    num_batches = sum(1 for _ in loader)
    yield None
    yield {"tokens": num_batches * per_batch}


def replay_batches(events: str, tuned: bool) -> Iterator[Answer | None]:
    """Batches as its SASRec gets them: read from Parquet, padded, moved on by one, and masked."""
    import polars as pl
    import torch
    from replay.data import FeatureHint, FeatureType
    from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorSchema
    from replay.nn.transform.template import make_default_sasrec_transforms

    if tuned:  # the docstring of ParquetModule
        torch.set_num_threads(1)
        torch.set_num_interop_threads(1)
    log = pl.read_parquet(events).sort("user_id", "position").with_columns(pl.col("item_id").rank("dense") - 1)
    train = log.group_by("user_id", maintain_order=True).agg(pl.col("item_id").cast(pl.Int64).head(pl.len() - 2))
    train = train.filter(pl.col("item_id").list.len() >= 2).select("item_id")
    num_items = log["item_id"].n_unique()
    schema = TensorSchema([
        TensorFeatureInfo(
            "item_id", FeatureType.CATEGORICAL, is_seq=True, feature_hint=FeatureHint.ITEM_ID, cardinality=num_items,
            padding_value=num_items, embedding_dim=DIM,
        )
    ])  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/train.parquet"
        train.write_parquet(path)
        module = ParquetModule(
            batch_size=USERS, metadata={"train": {"item_id": {"shape": LENGTH + 1, "padding": num_items}}},
            transforms=make_default_sasrec_transforms(schema), train_path=path,
        )  # fmt: skip
        module.setup("fit")
        done = 0
        yield None
        for raw in module.train_dataloader():
            batch = module.compiled_transforms["train"](raw)
            # it also predicts the first item, from padding
            done += int((batch["target_padding_mask"].squeeze(-1) & batch["padding_mask"]).sum())
        yield None
        yield {"tokens": float(done)}


def prepared(events: str, loss: str, num_workers: int = 0) -> tuple[Any, Any, float]:
    """RecTools's model and batches of the same training events, and the mean of real tokens in a batch."""
    import pandas as pd
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    log = pd.read_parquet(events).sort_values(["user_id", "position"]).rename(columns={"position": "datetime"})
    log["datetime"], log["weight"] = pd.to_datetime(log["datetime"], unit="s"), 1.0
    train = log[log.groupby("user_id").cumcount(ascending=False) >= 2]
    model = SASRecModel(
        n_blocks=BLOCKS, n_heads=HEADS, n_factors=DIM, session_max_len=LENGTH, batch_size=USERS, loss=loss,
        n_negatives=NEGATIVES, dropout_rate=0.2, epochs=1, dataloader_num_workers=num_workers,
    )  # fmt: skip
    model._build_model_from_dataset(Dataset.construct(train))
    loader = model.data_preparator.get_dataloader_train()
    tokens = (train.groupby("user_id").size().clip(upper=LENGTH + 1) - 1).clip(lower=0).sum()
    return model, loader, float(tokens / len(loader))


if __name__ == "__main__":
    enter({
        "ours": ours, "rectools": rectools, "our_batches": our_batches, "rectools_batches": rectools_batches,
        "replay_batches": replay_batches,
    })  # fmt: skip
