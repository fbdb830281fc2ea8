"""Training on an accelerator, as far as a pretend one can show it: nothing waits, few launches, no mixed devices."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from recsys.model import FeatureTable, encode_catalogue, encode_histories, trained_metadata
from recsys.search import ItemIndex
from tests.pretend_device import PretendDevice
from training import loop, validation
from training.batches import make_loader, steps_on
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.device import use_deterministic_algorithms
from training.objective import Objective
from training.sharding import ALONE
from training.state import TrainingState

NUM_USERS, NUM_ITEMS = 60, 120
METADATA = {
    "item": [
        {"name": "genres", "kind": "multi_categorical"}, {"name": "title", "kind": "text"},
        {"name": "year", "kind": "numeric"},
    ],
    "user": [{"name": "age", "kind": "numeric"}, {"name": "job", "kind": "categorical"}],
}  # fmt: skip
ITEMS_ONLY = {"item": METADATA["item"]}
KINDS = {
    "transformer": {},
    "item metadata and in-batch negatives": {"features": ITEMS_ONLY, "loss": {"in_batch": True}},
    "metadata of items and users": {"features": METADATA, "loss": {"in_batch": True, "learn_temperature": True}},
    "pooling with masked histories and own vectors": {
        "features": {"user_id": True}, "model": {"history_encoder": "pooling"}, "loss": {"mask_history": True},
    },
}  # fmt: skip
MOST_OPERATIONS, MOST_COPIES = {"metadata of items and users": 325}, 3  # of one step; of other kinds at most 300


@pytest.fixture
def pretend():
    before = torch.are_deterministic_algorithms_enabled()
    use_deterministic_algorithms()  # as every training does
    with PretendDevice() as pretend:
        yield pretend
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def training(build_dataset, request):
    """A kind of model with the settings that it has by default on ml-1m, for a small log; a step's operations are as
    many as there.
    """
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(NUM_USERS), rng.integers(8, 30, NUM_USERS))
    frames = {"events": pl.DataFrame({"user_id": users, "item_id": rng.integers(0, NUM_ITEMS, len(users))})}
    sections = KINDS[request.param]
    if "model" not in sections:
        frames["events"] = frames["events"].with_columns(pl.Series("time", np.arange(len(users))))
    if "item" in sections.get("features", {}):
        items, people = np.arange(NUM_ITEMS + 5), np.arange(NUM_USERS)
        frames["items"] = pl.DataFrame({
            "item_id": items, "year": items * 1.0, "title": [f"t{item % 9} of {item % 4}" for item in items],
            "genres": [[f"g{item % 5}"] * (item % 3) for item in items],
        })  # fmt: skip
        frames["users"] = pl.DataFrame(
            {"user_id": people, "age": people * 1.0, "job": [f"j{user % 4}" for user in people]}
        )
    config, dataset = build_dataset(**frames, **sections)
    return TrainingDescription.of(config, dataset)


every_kind = pytest.mark.parametrize("training", KINDS, indirect=True)


@every_kind
def test_a_step_stays_within_its_budgets(training, pretend, request):
    loader = make_loader(training)
    model = loop.initial_model(training, ALONE, pretend.device).train()
    state = TrainingState(model, training.recipe.learning_rate, training.recipe.weight_decay, 0.999)
    objective = Objective(training, loader, pretend.device)
    for number, step in enumerate(steps_on(pretend.device, loader.epoch(1))):
        state.step(objective(model, step))
        if number:  # tables are made in the first step
            break
        pretend.reset()
    assert not pretend.waits
    assert sum(pretend.copies.values()) <= MOST_COPIES, pretend.copies
    limit = MOST_OPERATIONS.get(request.node.callspec.params["training"], 300)
    assert sum(pretend.operations.values()) <= limit, pretend.operations


@every_kind
def test_training_validation_encoding_and_checkpoints_mix_no_devices(training, pretend, tmp_path, monkeypatch):
    on_cpu = SimpleNamespace(build=lambda vectors, *, kind, device: ItemIndex.build(vectors, kind=kind))
    monkeypatch.setattr(trained_metadata, "ItemIndex", on_cpu)  # FAISS knows no pretend device
    training = replace(training, recipe=replace(training.recipe, epochs=2))
    queries = validation.validation_set(training.dataset, seed=0)
    path, device = tmp_path / "checkpoint.safetensors", pretend.device
    loop.fit(replace(training, recipe=replace(training.recipe, epochs=1)), path, ALONE, device, queries)
    progress = loop.fit(training, path, ALONE, device, queries)  # continues
    assert [epoch.score > 0 for epoch in progress.epochs] == [True, True]
    model = loop.initial_model(training, ALONE, device).eval()
    model.load_state_dict(checkpoint.load(path).group("model"))
    encoder = training.dataset.encoder
    items = FeatureTable.from_frame(encoder.item_transforms, training.dataset.item_features())
    users = FeatureTable.from_frame(encoder.user_transforms, training.dataset.users())
    encoded = []
    for device in (pretend.device, torch.device("cpu")):
        vectors = encode_catalogue(model.to(device), items, encoder.num_items, device)
        encoded.append((vectors, encode_histories(model, vectors, queries.history, users, queries.user_rows)))
        assert {part.device for part in encoded[-1]} == {device}
    for part, expected in zip(*encoded, strict=True):
        torch.testing.assert_close(part.cpu(), expected, rtol=1e-4, atol=1e-5)
