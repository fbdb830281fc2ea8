import numpy as np
import polars as pl
import pytest
import torch

from features.build import build
from recsys.config import parse_config
from recsys.data.dataset import Dataset
from recsys.data.jagged import Jagged
from recsys.data.metadata import OWN_ID
from recsys.model.metadata_encoder import INIT_STD
from recsys.model.two_tower import TwoTower
from training.own_vectors import fit_fold_in, singular_vectors, start_at_singular_vectors
from training.recipe import resolve

TWO_GROUPS = Jagged.from_rows([[1, 2, 3], [1, 2], [2, 3], [4, 5], [4, 5, 6], [5, 6], [0, 7]])  # 7 is beyond the table


def test_users_are_close_to_their_own_items_only():
    users_UD, items_ND = singular_vectors(TWO_GROUPS, 7, 2, seed=0)
    assert (users_UD.shape, users_UD.dtype, items_ND.shape, items_ND.dtype) == ((7, 2), np.float32, (7, 2), np.float32)
    cosine = users_UD @ items_ND.T / (INIT_STD**2 * 2)
    assert cosine[:3, 1:4].min() > 0.99
    assert cosine[3:6, 4:7].min() > 0.99
    np.testing.assert_allclose(cosine[:3, 4:7], 0, atol=1e-5)
    np.testing.assert_allclose(cosine[3:6, 1:4], 0, atol=1e-5)
    assert not users_UD[6].any()  # a user without a known item has no direction
    assert not items_ND[0].any()


def test_dimensions_beyond_those_of_the_log_are_zero():
    users_UD, items_ND = singular_vectors(TWO_GROUPS, 7, 10, seed=0)
    assert not users_UD[:, 7:].any()
    assert not items_ND[:, 7:].any()
    np.testing.assert_allclose(np.linalg.norm(items_ND[1:], axis=1), INIT_STD * np.sqrt(10), rtol=1e-5)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    rows = [(user, item) for user, items in (("a", "uvw"), ("b", "vw"), ("c", "xyz"), ("d", "yz")) for item in items]
    events = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    events.write_parquet(tmp_path / "events.parquet")
    pl.DataFrame([("a", "x"), ("c", "u")], schema=["user_id", "item_id"], orient="row").write_parquet(
        tmp_path / "test.parquet"
    )
    tree = {
        "data": {"events": str(tmp_path / "events.parquet"), "min_user_events": 1},
        "split": {"kind": "given", "test": str(tmp_path / "test.parquet"), "validation_share": 0.34},
        "model": {"embedding_dim": 2, "num_members": 2},
    }
    return build(parse_config(tree, "test"), tmp_path / "dataset")


@pytest.fixture
def model(dataset):
    torch.manual_seed(0)
    return TwoTower(resolve(dataset.config, dataset.encoder, dataset.train()[1]).model).eval()


def own_tables(model):
    table = model.user_tower.metadata.tables.embedding_bags[f"user_{OWN_ID.name}"].weight
    return table.detach().chunk(model.spec.num_members, dim=1)


def item_tables(model):
    return model.item_tower.ids.embeddings["item"].weight.detach().chunk(model.spec.num_members, dim=1)


def test_every_training_user_starts_in_the_row_of_their_own_id(dataset, model):
    assert not any(table.any() for table in own_tables(model))
    start_at_singular_vectors(model, dataset, seed=0)
    user_ids, histories = dataset.train()
    users_UV, items_NV = singular_vectors(histories.whole(), model.spec.num_rows, 4, seed=0)
    vocabulary = dataset.encoder.user_transforms[-1].vocabulary
    table = torch.stack(own_tables(model), dim=2).flatten(1).detach()
    for user_id, vector in zip(user_ids, users_UV, strict=True):
        np.testing.assert_array_equal(table[vocabulary.index(user_id) + 1], vector)
    np.testing.assert_array_equal(torch.stack(item_tables(model), dim=2).flatten(1).detach(), items_NV)


def test_a_new_user_gets_the_vector_of_a_training_user_with_the_same_history(dataset, model):
    start_at_singular_vectors(model, dataset, seed=0)
    user_ids, histories = dataset.train()
    histories = histories.whole()
    rows = [dataset.encoder.user_transforms[-1].vocabulary.index(user_id) + 1 for user_id in user_ids]
    expected = []
    for own_table, item_table in zip(own_tables(model), item_tables(model), strict=True):
        items_ND = torch.nn.functional.normalize(item_table.detach(), dim=1)
        pooled_UD = torch.stack([items_ND[histories[row].tolist()].mean(dim=0) for row in range(len(histories))])
        pooled_UD = torch.nn.functional.normalize(pooled_UD, dim=1)
        expected.append((pooled_UD, pooled_UD @ torch.randn(2, 2) + torch.randn(2)))
        with torch.no_grad():
            own_table[rows] = expected[-1][1]
    fit_fold_in(model, dataset, l2=1e-9)
    fold_in = model.user_tower.fold_in
    pooled_KUD, own_KUD = (torch.stack(side) for side in zip(*expected, strict=True))
    torch.testing.assert_close(fold_in(pooled_KUD), own_KUD, atol=1e-3, rtol=1e-3)
    fit_fold_in(model, dataset, l2=1e9)  # a second fit forgets the first
    assert max(fold_in.weight.abs().max(), fold_in.bias.abs().max()) < 1e-6
