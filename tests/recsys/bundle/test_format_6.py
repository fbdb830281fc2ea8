"""A bundle that an earlier release sealed serves with the same weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save

from recsys.bundle import format_6
from recsys.bundle.arrays import load_weights
from recsys.model import TwoTower
from tests.small_models import RICH, make

ORDERED = replace(RICH, num_members=2)
UNORDERED = replace(RICH, num_members=3, history_encoder="pooling", own_vectors=True)
# as the release before format 7 wrote them, for two members of eight dimensions
FORMER_SHAPES = {
    "log_temperature": (),
    "item_towers.1.ids.embeddings.item.weight": (13, 8),
    "item_towers.0.metadata.tables.embedding_bags.item_title.weight": (1024, 8),
    "item_towers.1.metadata.dense.weight": (8, 5),
    "user_towers.0.blocks.1.swiglu_in.weight": (64, 8),
    "user_towers.1.blocks.0.averages.weight": (7, 8),
    "user_towers.1.norm.weight": (8,),
    "user_towers.0.metadata.dense.weight": (8, 5),
}


def test_names_and_shapes_are_those_of_the_earlier_release():
    parts = format_6.apart(make(ORDERED).state_dict(), 2)
    assert {name: tuple(parts[name].shape) for name in FORMER_SHAPES} == FORMER_SHAPES


@pytest.mark.parametrize("spec", [RICH, ORDERED, UNORDERED])
def test_weights_of_format_6_are_loaded_as_they_were(spec):
    weights = make(spec, torch.float32).state_dict()
    parts = {name: part.contiguous() for name, part in format_6.apart(weights, spec.num_members).items()}
    with torch.device("meta"):
        model = TwoTower(spec)
    load_weights(model, np.frombuffer(bytearray(save(parts)), np.uint8))
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, weights[name]), name
