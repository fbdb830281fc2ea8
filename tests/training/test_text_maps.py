"""Text maps start where both towers keep the inner products of the encoder's vectors."""

import numpy as np
import polars as pl
import torch

from recsys.model import TwoTower
from tests import letter_encoder
from tests.small_trainings import TINY
from training.description import TrainingDescription
from training.text_maps import main_directions, start_at_encoders


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
