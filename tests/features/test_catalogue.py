from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.catalogue import Catalogue, Logged, fit_catalogue
from recsys.config import Config, parse_config
from recsys.data.dataset import read_arrow
from recsys.data.encoder import Encoder
from recsys.data.metadata import MetadataCounts, MetadataTable

IDS = pl.Series("item_id", ["a", "b", "c", "d"])  # of the log; "c" occurs after the cut only
COUNTS = np.array([5, 1, 0, 2])
ITEMS = pl.DataFrame({"item_id": ["z", "b", "c", "y", "a"], "price": [1.0, None, 3.0, float("nan"), 7.0]})
NO_ITEMS = pl.DataFrame(schema={"item_id": pl.String})
USERS = pl.DataFrame({"user_id": [1, 9], "age": [20.0, 40.0]})
USER_IDS = pl.Series("user_id", [1, 2, 3, 9])  # 9 comes after the cut only


def config_of(items: bool, features: bool = True, **data: Any) -> Config:
    tree: dict[str, Any] = {
        "data": {"events": "x", "time": "t", **({"items": "y", "users": "z"} if items else {}), **data}
    }
    if items and features:
        tree["features"] = {
            kind: [{"name": name, "kind": "numeric"}] for kind, name in (("item", "price"), ("user", "age"))
        }
    return parse_config(tree, "test")


def write(folder: Path, config: Config, items: pl.DataFrame = ITEMS) -> Catalogue:
    for name in ("train", "catalogue"):
        (folder / name).mkdir()
    item_table, user_table = (MetadataTable(table, MetadataCounts()) for table in (items, USERS))
    catalogue = fit_catalogue(config, Logged(IDS, COUNTS, USER_IDS, USER_IDS.head(3)), item_table, user_table)
    catalogue.write(folder)
    return catalogue


@pytest.mark.parametrize(
    ("catalogue", "least", "trained", "cold"),
    [
        ("all", 1, "abd", "cyz"),  # "c" is in the metadata
        ("events", 1, "abd", "c"),
        ("all", 2, "ad", "bcyz"),
        ("events", 2, "ad", "bc"),
    ],
)
def test_the_order_of_the_catalogue(tmp_path: Path, catalogue: str, least: int, trained: str, cold: str) -> None:
    encoder = write(tmp_path, config_of(True, catalogue=catalogue, min_item_events=least)).encoder
    assert encoder.item_ids.to_list() == [*trained, *cold]
    assert encoder.num_trained == len(trained)
    counted = dict(read_arrow(tmp_path / "train" / "items.arrow").iter_rows())
    assert counted == {item: count for item, count in zip(IDS, COUNTS, strict=True) if item in trained}
    assert read_arrow(tmp_path / "catalogue" / "items.arrow")["item_id"].to_list() == [*trained, *cold]
    assert read_arrow(tmp_path / "catalogue" / "features.arrow").height == len(trained) + len(cold)
    assert Encoder.read(tmp_path / "train" / "encoder.json", encoder.item_ids) == encoder


def test_items_without_events_before_the_cut_or_metadata(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in "123")
    for folder in (one, two, three):
        folder.mkdir()
    without = ITEMS.filter(pl.col("item_id") != "c")
    assert write(one, config_of(True), without).encoder.item_ids.to_list() == [*"abd", *"yz"]
    assert write(two, config_of(True, catalogue="events"), without).encoder.item_ids.to_list() == [*"abd", "c"]
    assert write(three, config_of(False), NO_ITEMS).encoder.item_ids.to_list() == [*"abd", "c"]


def test_statistics_are_those_of_the_trained_items_and_users(tmp_path: Path) -> None:
    catalogue = write(tmp_path, config_of(True))
    encoder = catalogue.encoder
    price, age = encoder.item_transforms[0], encoder.user_transforms[0]
    assert (price.mean, price.scale) == (7.0, 1.0)  # of "a" alone: "b" has no price, "d" no metadata
    assert (age.mean, age.scale) == (20.0, 1.0)  # user 9 comes after the cut
    encoded = read_arrow(tmp_path / "catalogue" / "features.arrow")["price"].to_list()
    assert encoded == [[0, 0], [0, 1], [0, 1], [0, 0], [0, 1], [0, 0]]  # a b d, c y z: clipped to the 7 of a
    users = read_arrow(tmp_path / "catalogue" / "users.arrow")
    assert users.rows() == [(1, [0, 0]), (9, [0, 0])]
    assert catalogue.item_metadata == MetadataCounts(missing={"price": 3}, without_metadata=1, clipped={"price": 2})
    assert catalogue.user_metadata == MetadataCounts(missing={"age": 0}, without_metadata=2, clipped={"age": 1})


@pytest.mark.parametrize(
    ("time", "wanted", "own"), [("t", None, False), (None, None, True), ("t", True, True), (None, False, False)]
)
def test_unordered_data_gives_every_training_user_an_own_id(
    tmp_path: Path, time: str | None, wanted: bool | None, own: bool
) -> None:
    config = config_of(True, features=False, **{"time": time})
    config = config.model_copy(update={"features": config.features.model_copy(update={"user_id": wanted})})
    catalogue = write(tmp_path, config)
    encoder = catalogue.encoder
    users = read_arrow(tmp_path / "catalogue" / "users.arrow")
    if own:
        assert encoder.user_transforms[-1].vocabulary == ("1", "2", "3")
        assert users.rows() == [(1, [1]), (2, [2]), (3, [3]), (9, [])]  # user 9 comes after the cut
    else:
        assert users.rows() == [(1,), (9,)]
        assert encoder.user_transforms == ()
    assert catalogue.user_metadata.without_metadata == 2


def test_no_metadata_is_nothing_to_count(tmp_path: Path) -> None:
    catalogue = write(tmp_path, config_of(False), NO_ITEMS)
    assert catalogue.item_metadata == catalogue.user_metadata == MetadataCounts()
    assert read_arrow(tmp_path / "catalogue" / "items.arrow").columns == ["item_id"]


def test_no_item_left_is_fatal(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no item has data\.min_item_events = 6 training events; .* 4 items has 5: lower"
    ):
        write(tmp_path, config_of(False, min_item_events=6), NO_ITEMS)
