"""Text maps start where both towers keep the inner products of the encoder's vectors."""

import numpy as np
import polars as pl
import torch

from recsys.model import TwoTower
from tests import letter_encoder
from tests.small_trainings import TINY
from training.batches import make_loader
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.loop import CPU, start_of, train
from training.pretrained import begins_as_encoder, best_share, interpolated, main_directions, start_at_encoders
from training.validation import ndcg_by_query, ndcg_of, validation_set

PAIRS = {"loss": {"num_negatives": 32}, "training": {"epochs": 2}}


def test_main_directions_lose_least_and_members_share_them():
    rng = np.random.default_rng(0)
    vectors = (
        rng.normal(size=(200, 12)) * np.geomspace(1, 0.01, 12) @ np.linalg.qr(rng.normal(size=(12, 12)))[0]
    ).astype(np.float32)
    directions = main_directions(vectors, 4, 1)
    np.testing.assert_allclose(directions @ directions.T, np.eye(4), atol=1e-9)
    lost = np.square(vectors - vectors @ directions.T @ directions).sum()
    _, values, _ = np.linalg.svd(vectors, full_matrices=False)
    np.testing.assert_allclose(lost, np.square(values[4:]).sum(), rtol=1e-3)
    first, second = np.split(main_directions(vectors, 4, 2), 2)
    np.testing.assert_array_equal([first[0], second[0], first[1], second[1]], directions)
    wide = main_directions(vectors, 16, 2)
    assert not wide[[6, 7, 14, 15]].any()  # there are only 12
    np.testing.assert_allclose((vectors @ wide.T) @ (wide @ vectors.T), vectors @ vectors.T, atol=1e-4)


def test_towers_map_equal_texts_alike(build_dataset, cyclic_events):
    words = [f"{'abcdefgh'[n % 8] * 3}{'ijkl'[n % 4] * 2}" for n in range(40)]
    items = pl.DataFrame({"item_id": range(40), "text": words})
    users = pl.DataFrame({"user_id": range(60), "text": (words * 2)[:60], "about": words[:30] * 2})
    text = {"name": "text", "kind": "text", "encoder": letter_encoder.NAME}
    features = {"item": [text], "user": [text | {"name": "about"}]}
    config, dataset = build_dataset(cyclic_events(num_users=60), items=items, users=users, features=features, **TINY)
    torch.manual_seed(0)
    model = TwoTower(TrainingDescription.of(config, dataset).recipe.model)
    start_at_encoders(model, dataset)
    (of_items,) = model.item_tower.metadata.text_maps_by_feature().values()
    (of_users,) = model.user_tower.metadata.text_maps_by_feature().values()
    vectors = torch.from_numpy(dataset.item_features().get_column(f"text ({letter_encoder.NAME})").to_numpy().copy())
    mapped = of_items(vectors)
    expected = vectors @ vectors.T
    ratio = (mapped @ mapped.T) / expected
    assert ratio.std() / ratio.mean() < 0.01  # as the encoder compares them, up to a factor
    assert not torch.equal(of_users.weight, of_items.weight)  # of other texts


def pairs_of_letters(build_dataset, *, num_items=60):
    """Queries and items of the same letters, which the encoder of letters compares well before any training."""
    texts = [f"{'abcdefgh'[n % 8] * 3} {'ijklmnop'[n // 8 % 8] * 2} {'qrst'[n % 4]}" for n in range(num_items)]
    items = pl.DataFrame({"item_id": range(num_items), "text": texts})
    users = pl.DataFrame({"user_id": range(num_items), "text": [text[::-1] for text in texts]})
    text = {"name": "text", "kind": "text", "encoder": letter_encoder.NAME}
    log = pl.DataFrame({"user_id": range(num_items), "item_id": range(num_items)})
    return build_dataset(
        log, items=items, users=users, features={"item": [text], "user": [text]}, split={"kind": "users"},
        data={"time": None, "min_user_events": 1}, **PAIRS,
    )  # fmt: skip


def test_pairs_begin_as_the_encoder(build_dataset):
    config, dataset = pairs_of_letters(build_dataset)
    training = TrainingDescription.of(config, dataset)
    assert begins_as_encoder(training.recipe.model)
    assert training.recipe.refit  # whole items are held out for validation
    model, queries = start_of(training), validation_set(dataset, seed=0)
    ours = ndcg_by_query(model.eval(), queries, make_loader(training), dataset.encoder.num_items, CPU)
    name = f"text ({letter_encoder.NAME})"
    items, asked = (np.stack(frame.get_column(name).to_list()) for frame in (dataset.item_features(), dataset.users()))
    scores = asked[queries.user_rows - 1] @ items.T
    order = 1 + np.argsort(-scores, axis=1, kind="stable")[:, :10]
    np.testing.assert_allclose(ours, ndcg_of(order.astype(np.int32), queries), atol=1e-6)


def test_a_training_that_does_not_clearly_help_leaves_the_encoder(build_dataset, tmp_path, caplog):
    config, dataset = pairs_of_letters(build_dataset)
    caplog.set_level("INFO")
    train(config, dataset, tmp_path / "run")
    training = TrainingDescription.of(config, dataset)
    served = checkpoint.load(tmp_path / "run" / checkpoint.WEIGHTS).group("model")
    for name, weight in start_of(training).state_dict().items():
        torch.testing.assert_close(served[name], weight)
    assert "weights at 0% of the way" in caplog.text
    assert not (tmp_path / "run" / checkpoint.VALIDATED).exists()


def test_training_is_kept_as_far_as_it_helps(build_dataset):
    config, dataset = pairs_of_letters(build_dataset)
    training = TrainingDescription.of(config, dataset)
    good, queries = start_of(training).state_dict(), validation_set(dataset, seed=0)
    bad = {name: torch.zeros_like(weight) for name, weight in good.items()}  # all scores are equal
    assert best_share(training, bad, good, queries, CPU) > 0.0
    assert best_share(training, good, bad, queries, CPU) == 0.0
    half = interpolated(bad, good, 0.5)
    torch.testing.assert_close(half["log_temperature"], (bad["log_temperature"] + good["log_temperature"]) / 2)
