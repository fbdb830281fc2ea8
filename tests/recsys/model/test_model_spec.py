from dataclasses import replace
from types import SimpleNamespace

import pytest

from recsys.model.model_spec import ModelSpec
from tests.small_models import ITEM_TRANSFORMS, PLAIN, RICH


def test_a_spec_is_restored_from_its_json_and_the_encoders_transforms():
    stored = RICH.to_json()
    assert not any("transforms" in name for name in stored)
    encoder = SimpleNamespace(
        item_transforms=RICH.item_transforms, user_transforms=RICH.user_transforms, num_trained=RICH.num_rows - 1
    )
    assert ModelSpec.from_json(stored, encoder) == RICH
    assert stored["history"] == RICH.history_encoder  # the name in files: another would change every bundle's id
    assert replace(PLAIN, item_transforms=ITEM_TRANSFORMS).to_json() == PLAIN.to_json()


def test_vectors_are_as_wide_as_all_members_together():
    assert replace(PLAIN, num_members=3).width == 3 * PLAIN.embedding_dim


def test_fewer_dimensions_serve_only_where_a_spec_says_so():
    assert PLAIN.served_width == PLAIN.width
    assert "dimensions" not in PLAIN.to_json()  # so that ids of bundles stay
    narrow = replace(PLAIN, num_members=2, dimensions=5)
    assert (narrow.width, narrow.served_width, narrow.to_json()["dimensions"]) == (16, 5, 5)
    encoder = SimpleNamespace(item_transforms=(), user_transforms=(), num_trained=PLAIN.num_rows - 1)
    assert ModelSpec.from_json(narrow.to_json(), encoder) == narrow
    with pytest.raises(ValueError, match="17 dimensions serve, of 16"):
        ModelSpec.from_json(replace(narrow, dimensions=17).to_json(), encoder)
