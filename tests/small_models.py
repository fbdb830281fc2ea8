"""Small models with every kind of feature, and training batches for them.

Legend as in recsys/model/two_tower.py: M distinct items, B users, L history length, D embedding_dim.
"""

from dataclasses import replace

import numpy as np
import polars as pl
import torch

from recsys.config import FeatureConfig
from recsys.data.feature_kinds import fit_feature
from recsys.model.feature_tensors import FeatureRows, FeatureTable
from recsys.model.model_spec import ModelSpec
from recsys.model.two_tower import TrainBatch, TwoTower

D, NUM_ROWS = 8, 13
NO_FEATURES = FeatureRows(None, None)
LENGTHS = torch.tensor([5, 1, 3, 4])

KINDS = {"genre": "categorical", "tags": "multi_categorical", "year": "numeric", "title": "text", "vector": "vector"}


def metadata(count, kinds=KINDS, seed=0):
    """Transforms of every kind, and the encoded table of ``count`` rows."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "genre": [f"g{value}" for value in rng.integers(3, size=count)],
            "tags": [[f"t{value}" for value in rng.integers(4, size=rng.integers(0, 4))] for _ in range(count)],
            "year": rng.normal(size=count),
            "title": [f"title of {value}" for value in rng.integers(9, size=count)],
            "vector": rng.normal(size=(count, 3)).tolist(),
        },
        schema_overrides={"tags": pl.List(pl.String), "vector": pl.List(pl.Float32)},
    )
    transforms = tuple(fit_feature(FeatureConfig(name=name, kind=kind), frame[name]) for name, kind in kinds.items())
    encoded = pl.DataFrame([transform.encode(frame[transform.name]) for transform in transforms])
    return transforms, encoded


ITEM_TRANSFORMS, ENCODED_ITEMS = metadata(NUM_ROWS + 4)
ITEMS = FeatureTable.from_frame(ITEM_TRANSFORMS, ENCODED_ITEMS)
USER_TRANSFORMS, ENCODED_USERS = metadata(6, seed=1)
USERS = FeatureTable.from_frame(USER_TRANSFORMS, ENCODED_USERS)
PLAIN = ModelSpec(
    num_rows=NUM_ROWS, item_transforms=(), user_transforms=(), embedding_dim=D, num_members=1,
    history_encoder="transformer", own_vectors=False, similarity="dot", num_layers=2, num_heads=2, max_history=6,
    dropout=0.0, id_dropout=0.0,
    user_dropout=0.0, temperature=0.5, learn_temperature=False,
)  # fmt: skip
RICH = replace(PLAIN, item_transforms=ITEM_TRANSFORMS, user_transforms=USER_TRANSFORMS, learn_temperature=True)


def make(spec, dtype=torch.float64):
    """A model whose weights are large enough that everything has an effect.

    Tables look ids up in float32 whatever the weights are: without metadata a whole step is float32 only.
    """
    torch.manual_seed(0)
    model = TwoTower(spec).to(dtype).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name != "log_temperature":
                weight.copy_(torch.randn_like(weight) * 0.5)
    return model


def of_member(state, member, num_members):
    """One member's part of a model's state, for a model of this member alone."""

    def part(name, weight):
        if "embedding" in name:
            return weight.chunk(num_members, dim=1)[member]
        if "dense" in name:
            return weight.chunk(num_members)[member]
        return weight if name == "log_temperature" else weight[member : member + 1]

    return {name: part(name, weight) for name, weight in state.items()}


def doubled(features, dtype=torch.float64):
    return FeatureRows(features.bags, None if features.dense is None else features.dense.to(dtype))


def make_batch(spec, dtype=torch.float64):
    rows = np.arange(NUM_ROWS)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(1, len(rows), (len(LENGTHS), int(LENGTHS.max())), generator=generator)
    present = torch.arange(inputs.shape[1]) < LENGTHS[:, None]
    return TrainBatch(
        rows=torch.from_numpy(rows),
        features=doubled(ITEMS.take(rows), dtype) if spec.item_transforms else NO_FEATURES,
        inputs=inputs * present,
        lengths=LENGTHS,
        tokens=present.flatten().nonzero().squeeze(1),
        user_features=doubled(USERS.take(np.array([1, 0, 5, 2])), dtype) if spec.user_transforms else NO_FEATURES,
    )


def event_vectors(model, batch):
    """The user vector at every event, [B, L, D]."""
    items_MV = model.encode_items(batch.rows, batch.features)
    histories = model.split_histories(items_MV[batch.inputs])
    return model.join_members(model.user_tower(histories, batch.lengths, batch.user_features))
