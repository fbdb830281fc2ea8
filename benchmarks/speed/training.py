"""Training and its batches: histories of up to 200, d = 64, two blocks; the same number of real tokens for all.

A real token is a place that predicts: padding does not count. ``batches`` goes over the batches without a model.
"""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.speed.race import Answer, Contestant, enter

LENGTH, DIM, BLOCKS, HEADS, USERS, NEGATIVES = 200, 64, 2, 2, 128, 256
TRAINING = (
    Contestant("ours, one member", "ours", peer=False, settings={"num_members": 1}),
    Contestant("ours, two members as by default", "ours", peer=False, settings={"num_members": 2}),
    Contestant("RecTools SASRec, full softmax", "rectools", settings={"loss": "softmax"}),
    Contestant("RecTools SASRec, sampled softmax", "rectools", settings={"loss": "sampled_softmax"}),
)
BATCHES = (Contestant("ours", "our_batches", peer=False), Contestant("RecTools", "their_batches"))


def ours(events: str, num_tokens: int, num_members: int) -> Iterator[Answer | None]:
    import torch

    from recsys.model import TwoTower
    from training.loop import Objective, be_deterministic, choose_device, make_loader
    from training.recipe import resolve
    from training.state import TrainingState

    be_deterministic()
    device = choose_device("auto")
    with tempfile.TemporaryDirectory() as folder:
        config, dataset = built(events, folder, num_members)
        recipe = resolve(config, dataset.encoder, dataset.train()[1])
        loader = make_loader(config, recipe, dataset)
        torch.manual_seed(0)
        model = TwoTower(recipe.model).to(device).train()
        state = TrainingState(model, recipe.learning_rate, recipe.weight_decay, config.training.average_decay)
        objective, done = Objective(config, recipe, dataset, loader, device), 0
        yield None
        for step in itertools.chain.from_iterable(loader.epoch(epoch) for epoch in itertools.count(1)):
            state.step(objective(model, step.to(device)))
            done += len(step.labels)
            if done >= num_tokens:
                break
        yield None
        yield {"figures": {"tokens": done}}


def our_batches(events: str) -> Iterator[Answer | None]:
    from training.loop import make_loader
    from training.recipe import resolve

    with tempfile.TemporaryDirectory() as folder:
        config, dataset = built(events, folder, 1)
        loader = make_loader(config, resolve(config, dataset.encoder, dataset.train()[1]), dataset)
        yield None
        done = sum(len(step.labels) for step in loader.epoch(1))
        yield None
        yield {"figures": {"tokens": done}}


def built(events: str, folder: str, num_members: int) -> tuple[Any, Any]:
    """Config and dataset of a log with the columns user_id, item_id and position."""
    from features.build import build
    from recsys.config import parse_config

    tree = {
        "data": {"events": events, "time": "position", "catalogue": "events"},
        "model": {"max_history": LENGTH, "num_members": num_members, "embedding_dim": DIM},
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


def their_batches(events: str) -> Iterator[Answer | None]:
    _, loader, per_batch = prepared(events, "softmax")
    yield None
    num_batches = sum(1 for _ in loader)
    yield None
    yield {"figures": {"tokens": num_batches * per_batch}}


def prepared(events: str, loss: str) -> tuple[Any, Any, float]:
    """RecTools's model and batches of the same training events, and the mean of real tokens in a batch."""
    import pandas as pd
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    log = pd.read_parquet(events).sort_values(["user_id", "position"]).rename(columns={"position": "datetime"})
    log["datetime"], log["weight"] = pd.to_datetime(log["datetime"], unit="s"), 1.0
    train = log[log.groupby("user_id").cumcount(ascending=False) >= 2]
    model = SASRecModel(
        n_blocks=BLOCKS, n_heads=HEADS, n_factors=DIM, session_max_len=LENGTH, batch_size=USERS, loss=loss,
        n_negatives=NEGATIVES, dropout_rate=0.2, epochs=1,
    )  # fmt: skip
    model._build_model_from_dataset(Dataset.construct(train))
    loader = model.data_preparator.get_dataloader_train()
    tokens = (train.groupby("user_id").size().clip(upper=LENGTH + 1) - 1).clip(lower=0).sum()
    return model, loader, float(tokens / len(loader))


if __name__ == "__main__":
    enter({"ours": ours, "rectools": rectools, "our_batches": our_batches, "their_batches": their_batches})
