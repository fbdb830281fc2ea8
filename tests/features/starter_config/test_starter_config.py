import tomllib

import polars as pl
import pytest

from features.build import build
from features.starter_config import NamedColumns, suggest_config
from recsys.config import load_config
from tests.shop import write_shop

NONE = NamedColumns()
ROWS = [(f"u{n % 60}", f"i{n % 17}", f"{n % 12 + 1}/{n % 28 + 1}/2020") for n in range(600)]


def test_a_shop_with_us_dates_and_decimal_commas(tmp_path):
    orders, products = write_shop(tmp_path / "shop")
    out = tmp_path / "shop.toml"
    suggested = suggest_config([products, orders], out, NONE)
    assert suggested.undecided == []
    out.write_text(suggested.toml)
    config = load_config(out)
    data = config.data
    assert (data.events, data.items, data.users) == (str(orders), str(products), None)
    assert (data.user_id, data.item_id, data.time) == ("CustomerID", "StockCode", "InvoiceDate")
    assert (data.time_format, data.decimal, data.title) == ("%m/%d/%Y %H:%M", ",", "Description")
    assert {feature.name: feature.kind for feature in config.features.item} == {
        "Description": "text", "Category": "categorical", "Weight kg": "numeric", "UnitPrice": "numeric",
        "Tags": "text",
    }  # fmt: skip
    assert (config.split.kind, config.registry.name) == ("temporal", "shop")
    assert "  not used: Quantity, UnitPrice (an event counts as one, whatever was paid or rated)" in suggested.found
    assert any("Quantity is below zero" in line for line in suggested.found)
    dataset = build(config, tmp_path / "dataset")
    assert dataset.manifest.statistics.log.quarantined.keys() <= {"duplicate"}


@pytest.mark.parametrize(("day", "count"), [(12, 2), (28, 1)], ids=["ambiguous", "month first"])
def test_the_order_of_day_and_month_is_never_guessed(write, tmp_path, day, count):
    rows = [(user, item, f"{n % 12 + 1}/{n % day + 1}/2020") for n, (user, item, _) in enumerate(ROWS)]
    suggested = suggest_config([write("log.csv", "user,item,time", rows)], tmp_path / "c.toml", NONE)
    assert suggested.toml.count("time_format = ") == count
    assert suggested.toml.count("# time_format = ") == (count if count > 1 else 0)
    assert len(suggested.undecided) == (count > 1)
    assert tomllib.loads(suggested.toml)["data"].get("time_format") == (None if count > 1 else "%m/%d/%Y")


def test_a_time_of_no_known_form_is_undecided(write, tmp_path):
    rows = [(user, item, f"week {n}") for n, (user, item, _) in enumerate(ROWS)]
    suggested = suggest_config([write("log.csv", "user,item,time", rows)], tmp_path / "c.toml", NONE)
    assert "no common form of times reads all values of time, such as 'week 0'" in suggested.undecided[0]


def test_names_and_paths_are_written_as_toml_reads_them(write, tmp_path):
    (tmp_path / "a [1]").mkdir()
    path = write("a [1]/my \u00e4 log.csv", "^user$;it'em;time", ROWS, ";")
    suggested = suggest_config([path], tmp_path / "c.toml", NONE)
    data = tomllib.loads(suggested.toml)["data"]
    assert (data["events"], data["user_id"], data["item_id"]) == ("a [1]/my \u00e4 log.csv", "^user$", "it'em")


def test_ids_of_text_are_integers_where_the_metadata_say_so(write, tmp_path):
    log = write("log.csv", "userId,movieId", [(n % 60, n % 17) for n in range(600)])
    pl.DataFrame({"movieId": range(17), "title": [f"film {n}" for n in range(17)]}).write_parquet(
        tmp_path / "movies.parquet"
    )
    suggested = suggest_config([log, tmp_path / "movies.parquet"], tmp_path / "c.toml", NONE)
    (tmp_path / "c.toml").write_text(suggested.toml)
    config = load_config(tmp_path / "c.toml")
    assert config.data.id_type == "integer"
    assert build(config, tmp_path / "dataset").manifest.statistics.items == 17


def test_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no file; expected an event log"):
        suggest_config([], tmp_path / "c.toml", NONE)
