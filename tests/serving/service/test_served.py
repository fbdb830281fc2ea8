"""What is ready to serve knows its items' columns."""

import pytest

from recsys.errors import InputError
from serving.service.served import Served


def test_columns_follow_the_items(small_run):
    served = Served.load(small_run.run / "bundle", None, None, None, "cpu")
    items = small_run.items.sample(5, seed=0)
    assert served.item_columns(items["item_id"], ["title", "year"]).equals(items.select("title", "year"))
    with pytest.raises(InputError, match="no column 'colour'"):
        served.item_columns(items["item_id"], ["colour"])


def test_another_bundle_is_refused(small_run):
    with pytest.raises(InputError, match="expected 0000"):
        Served.load(small_run.run / "bundle", "0" * 64, None, None, "cpu")
