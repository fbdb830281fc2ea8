import json
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys import metrics
from recsys.data.dataset import encode_lists
from recsys.model.feature_tensors import FeatureTable
from recsys.model.two_tower import TwoTower
from tests.small_trainings import TINY, assert_same_training, changed, read, scores_of, train_until
from training import checkpoint, loop, validation
from training.checkpoint import Identity
from training.description import TrainingDescription
from training.device import choose_device
from training.evaluation import baselines
from training.loader import make_loader
from training.loop import train
from training.recipe import resolve

POOLED = TINY | {"model": {"embedding_dim": 16, "history": "pooling", "dropout": 0.0}}


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


def test_the_learning_rate_stands_then_falls_in_a_straight_line():
    factors = [loop.learning_rate_factor(epoch, 10) for epoch in range(1, 11)]
    np.testing.assert_allclose(factors, [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert loop.learning_rate_factor(1, 1) == 0.5


def test_the_last_epochs_are_trained_at_a_falling_rate(small, tmp_path, monkeypatch):
    config, dataset = small
    factors, plain = [], loop.TrainingState.scale_learning_rate
    monkeypatch.setattr(
        loop.TrainingState, "scale_learning_rate", lambda state, factor: (factors.append(factor), plain(state, factor))
    )
    train(config, dataset, tmp_path / "out")
    assert factors == [1.0, 1.0, 0.5]
    saved = read(tmp_path / "out" / "checkpoint.safetensors", config, dataset)
    assert saved.progress.epoch == 3


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
    """Ten groups of eight items; a user likes one group."""
    rng = np.random.default_rng(0)
    rows = [(user, int(item)) for user in range(150) for item in user % 10 * 8 + rng.choice(8, size=6, replace=False)]
    return pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")


def test_unordered_data_is_learned_by_pooling(build_dataset, tmp_path):
    settings = POOLED | {"training": TINY["training"] | {"epochs": 12, "weight_decay": 0.0}}
    settings["model"] = {"embedding_dim": 16}  # nothing named: no time column, so it pools
    events = unordered_events()
    test = events.group_by("user_id", maintain_order=True).last()
    path = tmp_path / "test.parquet"
    test.write_parquet(path)
    events = events.join(test, on=["user_id", "item_id"], how="anti")
    config, dataset = build_dataset(
        events, split={"kind": "given", "test": str(path), "validation_share": 0.2}, **settings
    )
    assert resolve(config, dataset.encoder, dataset.train()[1]).model.history == "pooling"
    train(config, dataset, tmp_path / "out")
    # the group's four items not in the history, in any order, would score .64; by chance it is .06
    assert read(tmp_path / "out" / "model.safetensors", config, dataset).progress.best_score > 0.45


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


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_state_readable(small, tmp_path, monkeypatch):
    config, dataset = small
    train_until(config, dataset, tmp_path / "out", 1)
    before = (tmp_path / "out" / "checkpoint.safetensors").read_bytes()
    plain = loop.Objective.__call__
    monkeypatch.setattr(loop.Objective, "__call__", lambda *given: plain(*given) * torch.tensor(float("nan")))
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


def test_patience_and_the_best_epoch(small, tmp_path, monkeypatch):
    config, dataset = small
    config = changed(config, training={"epochs": 20, "patience": 3})
    scores_of([0.1, 0.4, 0.3, 0.4, 0.2, 0.9, 0.1, 0.1, 0.1, 0.1], monkeypatch)
    train(config, dataset, tmp_path / "out")
    progress = read(tmp_path / "out" / "model.safetensors", config, dataset).progress
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (5, 2, 0.4)  # .4 again is no better
    patient = changed(config, training={"patience": 4})
    train(patient, dataset, tmp_path / "out", resume=True)
    progress = read(tmp_path / "out" / "model.safetensors", config, dataset).progress
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (10, 6, 0.9)


def test_model_holds_the_averaged_weights_of_the_best_epoch(small, tmp_path, monkeypatch):
    config, dataset = small
    scores_of([0.1, 0.5, 0.2], monkeypatch)
    train(config, dataset, tmp_path / "out")
    scores_of([0.1, 0.5], monkeypatch)
    train_until(config, dataset, tmp_path / "two", 2)
    kept = read(tmp_path / "out" / "model.safetensors", config, dataset).group("model")
    state = read(tmp_path / "two" / "checkpoint.safetensors", config, dataset)
    average, trained = state.group("average"), state.group("model")
    assert average.keys() == kept.keys() == trained.keys()
    assert all(torch.equal(kept[name], average[name]) for name in kept)
    assert any(not torch.equal(kept[name], trained[name]) for name in kept)


def test_the_clock_is_in_the_history_only(small, tmp_path, monkeypatch):
    """What names a bundle (weights, identity, best epoch) does not depend on how fast the machine was."""
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


def test_the_loader_never_makes_a_row_out_of_range(build_dataset):
    """Rare items without a row of their own and cold items with metadata only: neither is ever looked up."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 8)
    items = rng.zipf(1.5, len(users)).clip(1, 60)
    events = pl.DataFrame({"user_id": users, "item_id": items, "time": np.arange(len(users))})
    catalogue = pl.DataFrame({"item_id": range(1, 81), "genre": [f"g{item % 3}" for item in range(1, 81)]})
    config, dataset = build_dataset(
        events, items=catalogue, data={"min_item_events": 3},
        features={"item": [{"name": "genre", "kind": "categorical"}]}, **TINY,
    )  # fmt: skip
    assert dataset.encoder.num_trained < 30 < dataset.encoder.num_items
    training = TrainingDescription.of(config, dataset)
    recipe, loader = training.recipe, make_loader(training)
    for step in (step for epoch in range(3) for step in loader.epoch(epoch)):
        rows = step.batch.rows
        assert int(rows.min()) == 0
        assert int(rows.max()) < recipe.model.num_rows == dataset.encoder.num_trained + 1
        assert int(max(step.batch.inputs.max(), step.labels.max(), step.negatives.max())) < len(rows)
        assert (rows[step.labels] > 0).all()
        TwoTower(recipe.model)(step.batch)


def test_users_with_one_training_event_are_left_out(build_dataset, cyclic_events):
    events = cyclic_events(num_users=20)
    single = pl.DataFrame({"user_id": [1000], "item_id": [3], "time": [0]})
    config, dataset = build_dataset(pl.concat([events, single]), **TINY)
    user_ids, histories = dataset.train()
    assert 1000 in user_ids.to_list()
    loader = make_loader(TrainingDescription.of(config, dataset))
    assert loader.histories.lengths.min() >= 2
    assert len(loader.histories) == (histories.lengths >= 2).sum() < len(histories)


def test_user_rows_are_those_of_the_user(build_dataset, cyclic_events):
    users = pl.DataFrame({"user_id": [5, 2, 77], "age": [50.0, 20.0, 70.0]})
    config, dataset = build_dataset(
        cyclic_events(num_users=8), users=users, features={"user": [{"name": "age", "kind": "numeric"}]}, **TINY
    )
    user_ids, histories = dataset.train()
    loader = make_loader(TrainingDescription.of(config, dataset))
    known = dataset.users().get_column("user_id").to_list()
    trainable = user_ids.filter(pl.Series(histories.lengths >= 2)).to_list()
    assert loader.user_rows.tolist() == [known.index(user) + 1 if user in known else 0 for user in trainable]
    assert sorted(loader.user_rows.tolist())[-2:] > [0, 0]


def test_nothing_to_predict_is_a_clear_error(build_dataset, tmp_path):
    events = pl.DataFrame({"user_id": [1, 1, 1, 2, 2, 2], "item_id": [1, 2, 3, 3, 2, 1], "time": [1, 2, 3] * 2})
    config, dataset = build_dataset(events, **TINY)
    with pytest.raises(ValueError, match="no user has two training events"):
        train(config, dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_catalogue_smaller_than_the_metric_trains(build_dataset, cyclic_events, tmp_path):
    config, dataset = build_dataset(cyclic_events(num_users=20, num_items=6), **TINY)
    train(config, dataset, tmp_path / "out")
    assert 0 <= read(tmp_path / "out" / "model.safetensors", config, dataset).progress.best_score <= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu():
    with pytest.raises(ValueError, match='device = "cuda" but torch finds no GPU; use "auto" or "cpu"'):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_trains_as_well_as_the_cpu(build_dataset, cyclic_events, tmp_path):
    assert choose_device("auto").type == choose_device("cuda").type == "cuda"
    assert choose_device("cpu").type == "cpu"
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
@needs_gpu
def test_the_same_seed_gives_the_same_bits_on_a_gpu(small, tmp_path):
    config, dataset = small
    config = changed(config, training={"device": "cuda"})
    for out in ("a", "b"):
        train(config, dataset, tmp_path / out)
    assert_same_training(tmp_path / "a", tmp_path / "b", config, dataset)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("in_batch", [False, True])
def test_bf16_on_a_gpu_is_near_float32_on_the_cpu(small, in_batch):
    config, dataset = small
    config = changed(config, loss={"in_batch": in_batch, "mask_history": True}, model={"dropout": 0.0})
    training = TrainingDescription.of(config, dataset)
    recipe, loader = training.recipe, make_loader(training)
    step = next(iter(loader.epoch(1)))
    found = {}
    for name in ("cpu", "cuda"):
        device = torch.device(name)
        torch.manual_seed(0)
        model = TwoTower(recipe.model).to(device)
        loss = loop.Objective(training, loader, device)(model, step.to(device))
        assert loss.dtype == torch.float32
        loss.backward()
        gradient = torch.cat([weight.grad.flatten().cpu() for weight in model.parameters() if weight.grad is not None])
        found[name] = loss.item(), gradient
    assert found["cuda"][0] == pytest.approx(found["cpu"][0], rel=1e-2)
    assert torch.nn.functional.cosine_similarity(found["cuda"][1], found["cpu"][1], dim=0) > 0.99


def test_members_learn_on_their_own(small):
    """The loss of an ensemble is the mean of its members' losses, and no member feels another."""
    config, dataset = small
    config = changed(config, loss={"in_batch": True, "temperature": 0.7}, model={"dropout": 0.0, "num_members": 2})
    training = TrainingDescription.of(config, dataset)
    recipe, loader = training.recipe, make_loader(training)
    step = next(iter(loader.epoch(1)))

    def losses(model, recipe):
        of_recipe = replace(training, recipe=recipe)
        loss = loop.Objective(of_recipe, loader, torch.device("cpu"))(model, step)
        loss.backward()
        return loss.item(), {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}

    torch.manual_seed(0)
    both = TwoTower(recipe.model)
    loss, gradients = losses(both, recipe)
    alone = []
    for member in range(2):
        single = replace(recipe, model=replace(recipe.model, num_members=1))
        model = TwoTower(single.model)
        own = {name: name.replace("towers.0.", f"towers.{member}.") for name in model.state_dict()}
        model.load_state_dict({name: both.state_dict()[mine] for name, mine in own.items()})
        found, grads = losses(model, single)
        alone.append(found)
        for name, gradient in grads.items():
            torch.testing.assert_close(gradients[own[name]] * 2, gradient, rtol=1e-4, atol=1e-7)
    assert loss == pytest.approx(sum(alone) / 2, rel=1e-6)
    assert abs(alone[0] - alone[1]) > 1e-4


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
