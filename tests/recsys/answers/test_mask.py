"""A mask is a small file, read as it was written or refused in one line."""

import pytest

from recsys.answers import Mask
from recsys.errors import InputError


def test_a_mask_is_read_as_it_was_written(tmp_path):
    mask = Mask(version=3, item_ids=("a", 7))
    mask.save(tmp_path / "mask.json")
    assert Mask.at(tmp_path / "mask.json") == mask


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"version": -1, "item_ids": []}', '{"item_ids": [1.5]}', '{"item_ids": [true]}', '{"item_ids": 1}'],
)
def test_a_damaged_mask_names_its_file(tmp_path, content):
    (tmp_path / "mask.json").write_text(content)
    with pytest.raises(InputError, match=r"mask\.json"):
        Mask.at(tmp_path / "mask.json")
    with pytest.raises(InputError, match="no mask"):
        Mask.at(tmp_path / "none.json")
