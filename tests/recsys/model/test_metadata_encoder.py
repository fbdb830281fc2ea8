from dataclasses import replace

import numpy as np
import polars as pl
import torch

from recsys.config import FeatureConfig
from recsys.data.feature_kinds import fit_feature
from recsys.model.metadata_encoder import MetadataEncoder, table_name
from tests.small_models import ITEM_TRANSFORMS, ITEMS, NO_FEATURES, PLAIN, D, make


def test_names_of_columns_may_hold_dots():
    dotted, plain = (
        fit_feature(FeatureConfig(name=name, kind="categorical"), pl.Series(name, ["a"])) for name in ("x.y", "x_y")
    )
    spec = replace(PLAIN, item_transforms=(dotted, plain), user_transforms=(dotted,))
    model = make(spec)
    assert len({name for name in model.state_dict() if name.startswith("item_tower.metadata.tables")}) == 2
    make(spec).load_state_dict(model.state_dict())


def test_features_add_up_to_one_vector():
    """The mean of each bag's rows, plus the linear map of the dense numbers."""
    encoder = MetadataEncoder(ITEM_TRANSFORMS, D, "item")
    rows = np.array([3, 1, 0])
    vectors = encoder(ITEMS.take(rows))
    for row, vector in zip(rows, vectors, strict=True):
        expected = encoder.dense.weight @ torch.from_numpy(ITEMS.dense[row])
        for name, bags in ITEMS.bags.items():
            if len(bags[row]):
                weight = encoder.tables.embedding_bags[table_name("item", name)].weight
                expected = expected + weight[bags[row].tolist()].mean(dim=0)
        torch.testing.assert_close(vector, expected)


def test_without_features_there_is_no_vector():
    assert MetadataEncoder((), D, "item")(NO_FEATURES) is None
