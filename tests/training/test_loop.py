import gc
import json
import time
import weakref
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys import metrics
from recsys.data.dataset import encode_lists
from recsys.model.feature_tensors import FeatureTable
from recsys.model.two_tower import TwoTower
from recsys.retriever import Retriever
from tests.small_trainings import TINY, assert_same_training, changed, read, train_until, validate_to
from training import loop, publish, validation
from training.checkpoints import checkpoint
from training.checkpoints.checkpoint import Identity
from training.description import TrainingDescription
from training.evaluation import baselines
from training.learning_curve import EpochResult
from training.loop import train
from training.recipe import resolve
from training.sharding import ALONE

POOLED = TINY | {"model": {"embedding_dim": 16, "history_encoder": "pooling", "dropout": 0.0}}


def test_the_learning_rate_is_constant_and_then_falls_linearly():
    factors = [loop.learning_rate_factor(epoch, 10) for epoch in range(1, 11)]
    np.testing.assert_allclose(factors, [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert loop.learning_rate_factor(1, 1) == 0.5


def test_the_last_epoch_is_trained_at_the_lowest_rate(small, tmp_path, monkeypatch):
    training = TrainingDescription.of(*small)
    rates, scale = [], loop.TrainingState.scale_learning_rate

    def note(state, factor):
        scale(state, factor)
        rates.append(state.optimizer.param_groups[1]["lr"])

    monkeypatch.setattr(loop.TrainingState, "scale_learning_rate", note)
    assert loop.fit(training, tmp_path / "checkpoint.safetensors", ALONE, torch.device("cpu")).epoch == 3
    assert rates == [training.recipe.learning_rate] * 2 + [0.5 * training.recipe.learning_rate]


def test_an_epoch_is_one_line_of_the_log():
    result = EpochResult(epoch=3, loss=4.46861, score=0.36512, seconds=2.0, tokens=32_656, best=True)
    assert loop.epoch_line(result, 12) == (
        "epoch 3/12: loss 4.4686, validation NDCG@10 0.3651 (best so far), 16,328 tokens/s"
    )
    assert loop.epoch_line(replace(result, best=False), 12) == (
        "epoch 3/12: loss 4.4686, validation NDCG@10 0.3651, 16,328 tokens/s"
    )
    assert loop.epoch_line(replace(result, score=None), 12) == "epoch 3/12: loss 4.4686, 16,328 tokens/s"


def test_a_planted_world_is_recovered(build_dataset, cyclic_events, tmp_path):
    settings = TINY | {"training": TINY["training"] | {"epochs": 25}}
    config, dataset = build_dataset(cyclic_events(num_users=150, num_items=40), **settings)
    train(config, dataset, tmp_path / "out")
    progress = read(tmp_path / "out" / "model.safetensors", config, dataset).progress
    assert progress.best_score > 0.9
    assert progress.best_score == max(epoch.score for epoch in progress.epochs)
    queries = dataset.queries("validation")
    history, targets = (encode_lists(dataset.encoder, queries.get_column(name)) for name in ("history", "targets"))
    ranked = baselines.popularity(dataset.item_counts, history, 10)
    popularity = metrics.ndcg(metrics.hits(ranked, targets), targets.lengths, 10).mean()
    assert progress.best_score > 2 * popularity


def unordered_events():
    """Ten groups of eight items; every user likes one group."""
    rng = np.random.default_rng(0)
    rows = [(user, int(item)) for user in range(150) for item in user % 10 * 8 + rng.choice(8, size=6, replace=False)]
    return pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")


def test_unordered_data_is_learned_by_pooling(build_dataset, tmp_path):
    settings = POOLED | {"training": TINY["training"] | {"epochs": 12, "weight_decay": 0.0}}
    settings["model"] = {"embedding_dim": 16}  # the kind of history is left open: no time column, so it pools
    events = unordered_events()
    test = events.group_by("user_id", maintain_order=True).last()
    path = tmp_path / "test.parquet"
    test.write_parquet(path)
    events = events.join(test, on=["user_id", "item_id"], how="anti")
    config, dataset = build_dataset(
        events, split={"kind": "given", "test": str(path), "validation_share": 0.2}, **settings
    )
    assert resolve(config, dataset.encoder, dataset.train()[1]).model.history_encoder == "pooling"
    train(config, dataset, tmp_path / "out")
    # ranking the four other items of the group first, in any order, would score .64; chance would score .06
    assert read(tmp_path / "out" / "model.safetensors", config, dataset).progress.best_score > 0.45


def test_users_own_vectors_and_the_estimate_for_new_users_reach_the_bundle(build_dataset, tmp_path):
    events = unordered_events()
    test = events.group_by("user_id", maintain_order=True).last()
    test.write_parquet(tmp_path / "test.parquet")
    events = events.join(test, on=["user_id", "item_id"], how="anti")
    split = {"kind": "given", "test": str(tmp_path / "test.parquet"), "validation_share": 0.2}
    config, dataset = build_dataset(
        events, split=split, training={"epochs": 2}, model={"embedding_dim": 8}, loss={"num_negatives": 16}
    )
    training = TrainingDescription.of(config, dataset)
    assert training.recipe.refit
    assert training.recipe.model.own_vectors
    train(config, dataset, tmp_path / "out")
    publish.seal(training, checkpoint.load(tmp_path / "out" / "model.safetensors"), tmp_path / "bundle")
    retriever = Retriever.load(tmp_path / "bundle")
    fold_in = retriever.bundle.model.user_tower.fold_in
    assert not torch.equal(fold_in.weight[0], torch.eye(8))
    assert retriever.recommend([[0, 1, 2]], k=3).item_ids.list.len().to_list() == [3]


def test_a_refit_holds_no_second_model(small, tmp_path, monkeypatch):
    config, dataset = small
    models, alive, build = [], [], loop.initial_model

    def note(*arguments):
        alive.append([model() is not None for model in models])
        model = build(*arguments)
        models.append(weakref.ref(model))
        return model

    monkeypatch.setattr(loop, "initial_model", note)
    gc.disable()  # it would free the first model at some time or other
    try:
        train(changed(config, training={"refit": True, "epochs": 1}), dataset, tmp_path / "out")
    finally:
        gc.enable()
    assert alive == [[], [False]]


@pytest.mark.parametrize(
    "loss",
    [{"in_batch": True}, {"mask_history": True}, {"popularity_exponent": 0.5}, {"learn_temperature": True}],
    ids=lambda loss: next(iter(loss)),
)
@pytest.mark.parametrize("base", [TINY, POOLED], ids=["transformer", "pooling"])
def test_every_loss_option_learns(build_dataset, cyclic_events, tmp_path, base, loss):
    config, dataset = build_dataset(cyclic_events(num_users=60), **base | {"loss": base["loss"] | loss})
    train(config, dataset, tmp_path / "out")
    first, *_, last = read(tmp_path / "out" / "checkpoint.safetensors", config, dataset).progress.epochs
    assert last.loss < first.loss


def test_a_loss_that_is_not_finite_stops_training_and_leaves_the_last_checkpoint(small, tmp_path, monkeypatch):
    config, dataset = small
    train_until(config, dataset, tmp_path / "out", 1)
    before = (tmp_path / "out" / "checkpoint.safetensors").read_bytes()
    plain = loop.Objective.__call__
    monkeypatch.setattr(loop.Objective, "__call__", lambda *inputs: plain(*inputs) * torch.tensor(float("nan")))
    with pytest.raises(ValueError, match=r"the loss is nan in epoch 2; lower training.learning_rate"):
        train(config, dataset, tmp_path / "out", resume=True)
    monkeypatch.undo()
    assert (tmp_path / "out" / "checkpoint.safetensors").read_bytes() == before
    train(config, dataset, tmp_path / "out", resume=True)
    train(config, dataset, tmp_path / "whole")
    assert_same_training(tmp_path / "whole", tmp_path / "out", config, dataset)


def test_a_far_too_large_learning_rate_is_a_clear_error(build_dataset, cyclic_events, tmp_path):
    settings = TINY | {"training": TINY["training"] | {"learning_rate": 1e30, "epochs": 10}}
    config, dataset = build_dataset(cyclic_events(num_users=20), **settings)
    with pytest.raises(ValueError, match=r"lower training\.learning_rate"):
        train(config, dataset, tmp_path / "out")


def test_training_stops_when_the_patience_is_exhausted_and_resumes_with_more(small, tmp_path, monkeypatch):
    config, dataset = small
    config = changed(config, training={"epochs": 20, "patience": 3})
    validate_to([0.1, 0.4, 0.3, 0.4, 0.2, 0.9, 0.1, 0.1, 0.1, 0.1], monkeypatch)
    train(config, dataset, tmp_path / "out")
    progress = read(tmp_path / "out" / "model.safetensors", config, dataset).progress
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (5, 2, 0.4)  # .4 again is no better
    patient = changed(config, training={"patience": 4})
    train(patient, dataset, tmp_path / "out", resume=True)
    progress = read(tmp_path / "out" / "model.safetensors", config, dataset).progress
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (10, 6, 0.9)


def test_model_holds_the_averaged_weights_of_the_best_epoch(small, tmp_path, monkeypatch):
    config, dataset = small
    validate_to([0.1, 0.5, 0.2], monkeypatch)
    train(config, dataset, tmp_path / "out")
    validate_to([0.1, 0.5], monkeypatch)
    train_until(config, dataset, tmp_path / "two", 2)
    kept = read(tmp_path / "out" / "model.safetensors", config, dataset).group("model")
    state = read(tmp_path / "two" / "checkpoint.safetensors", config, dataset)
    average, trained = state.group("average"), state.group("model")
    assert kept.keys() == trained.keys()
    assert all(torch.equal(kept[name], average[name]) for name in average)
    assert any(not torch.equal(kept[name], trained[name]) for name in kept)


def test_the_speed_of_the_machine_changes_nothing_but_the_learning_curve(small, tmp_path, monkeypatch):
    """A bundle's id depends on weights, identity and best epoch."""
    config, dataset = small
    train(config, dataset, tmp_path / "fast")
    clock = iter(range(0, 10_000, 17))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    train(config, dataset, tmp_path / "slow")
    assert_same_training(tmp_path / "fast", tmp_path / "slow", config, dataset)
    identity = Identity.of(config, dataset)
    fast, slow = (checkpoint.load(tmp_path / out / "model.safetensors", identity) for out in ("fast", "slow"))
    assert fast.progress.epochs != slow.progress.epochs
    assert fast.identity == slow.identity == identity
    description = json.loads((tmp_path / "fast" / "training.json").read_text())
    assert description == json.loads((tmp_path / "slow" / "training.json").read_text())
    assert description["config"] == json.loads(config.model_dump_json())


def test_nothing_to_predict_is_a_clear_error(build_dataset, tmp_path):
    events = pl.DataFrame({"user_id": [1, 1, 1, 2, 2, 2], "item_id": [1, 2, 3, 3, 2, 1], "time": [1, 2, 3] * 2})
    config, dataset = build_dataset(events, **TINY)
    with pytest.raises(ValueError, match="no user has two training events"):
        train(config, dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_catalogue_of_fewer_than_ten_items_trains_to_the_end(build_dataset, cyclic_events, tmp_path):
    config, dataset = build_dataset(cyclic_events(num_users=20, num_items=6), **TINY)
    train(config, dataset, tmp_path / "out")
    progress = read(tmp_path / "out" / "model.safetensors", config, dataset).progress
    assert progress.epoch == 3
    assert progress.epochs[-1].loss < progress.epochs[0].loss


@pytest.mark.gpu
def test_a_gpu_trains_as_well_as_the_cpu(build_dataset, cyclic_events, tmp_path):
    settings = TINY | {"training": TINY["training"] | {"epochs": 25}}
    config, dataset = build_dataset(cyclic_events(num_users=150, num_items=40), **settings)
    best = {}
    for device in ("cpu", "cuda"):
        on_device = changed(config, training={"device": device})
        train(on_device, dataset, tmp_path / device)
        best[device] = read(tmp_path / device / "model.safetensors", on_device, dataset).progress.best_score
    assert min(best.values()) > 0.9
    assert abs(best["cpu"] - best["cuda"]) < 0.05


@pytest.mark.gpu
def test_the_same_seed_gives_the_same_bits_on_a_gpu(small, tmp_path):
    config, dataset = small
    config = changed(config, training={"device": "cuda"})
    for out in ("a", "b"):
        train(config, dataset, tmp_path / out)
    assert_same_training(tmp_path / "a", tmp_path / "b", config, dataset)


def test_features_of_every_kind_train_and_place_cold_items(build_dataset, cyclic_events, tmp_path):
    catalogue = pl.DataFrame(
        {
            "item_id": range(44), "genre": [f"g{item % 4}" for item in range(44)],
            "tags": [[f"t{item % 5}", f"t{item % 3}"] for item in range(44)],
            "year": [1990.0 + item for item in range(44)], "title": [f"volume {item}" for item in range(44)],
            "vector": [[float(item), 1.0] for item in range(44)],
        }
    )  # fmt: skip
    kinds = {
        "genre": "categorical",
        "tags": "multi_categorical",
        "year": "numeric",
        "title": "text",
        "vector": "vector",
    }
    config, dataset = build_dataset(
        cyclic_events(num_users=60), items=catalogue,
        features={"item": [{"name": name, "kind": kind} for name, kind in kinds.items()]}, **TINY,
    )  # fmt: skip
    train(config, dataset, tmp_path / "out")
    train(config, dataset, tmp_path / "again")
    assert_same_training(tmp_path / "out", tmp_path / "again", config, dataset)
    recipe = resolve(config, dataset.encoder, dataset.train()[1])
    model = TwoTower(recipe.model)
    model.load_state_dict(read(tmp_path / "out" / "model.safetensors", config, dataset).group("model"))
    features = FeatureTable.from_frame(dataset.encoder.item_transforms, dataset.item_features())
    vectors = validation.encode_catalogue(model.eval(), features, dataset.encoder.num_items, torch.device("cpu"))
    assert vectors.isfinite().all()
    cold = vectors[dataset.encoder.num_trained + 1 :]
    assert len(cold) == 4
    assert len({tuple(vector.tolist()) for vector in cold}) == 4
