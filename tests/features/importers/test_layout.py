"""What text becomes which value, and which files fit a layout."""

import datetime

import polars as pl
import pytest

from features.importers.layout import Column, Layout


def read(column, *values):
    raw = pl.DataFrame({column.name: pl.Series(values, dtype=column.dtype)})
    return raw.select(column.read()).to_series().to_list()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4.5", 4.5), ("$4.50", 4.5), ("$1,299.00", 1299.0), ("1,299", 1299.0), (" 7 ", 7.0), ("1e-05", 1e-5),
        (".5", 0.5), ("-3", -3.0),
        ("4,50", None), ("from 3 to 5", None), ("$3.99 - $5.99", None), ("nan", None), ("NaN", None),
        ("inf", None), ("-Infinity", None), ("1e999", None), ("", None), ("$", None), ("<b>4</b>", None),
        ("1_000", None), ("0x10", None), (None, None),
    ],
)  # fmt: skip
def test_a_number_is_finite_or_missing(text, number):
    assert read(Column("price", "number", ("price",)), text) == [number]
    unreadable = pl.DataFrame({"price": pl.Series([text], dtype=pl.String)}).select(
        Column("price", "number", ("price",)).unreadable()
    )
    assert unreadable.item() == (text if text and number is None else None)


def test_a_time_of_one_and_a_half_is_not_one():
    assert read(Column("timestamp", "time", ("time",)), "1.5", "1369699200", "yesterday") == [1.5, 1369699200.0, None]


def test_a_time_of_text_is_read_by_its_format_and_becomes_utc():
    column = Column("timestamp", "time", ("date",), formats=("%Y-%m-%d", "%a %b %d %H:%M:%S %z %Y"))
    assert read(column, "2018-09-20", "Fri Aug 25 13:55:02 -0700 2017", "20/09/2018", "1537401600") == [
        datetime.datetime(2018, 9, 20), datetime.datetime(2017, 8, 25, 20, 55, 2), None, None,
    ]  # fmt: skip


def test_ids_keep_their_text_and_empty_ones_are_missing():
    assert read(Column("item_id", "id", ("id",)), "0663713001", "", "  ", None) == ["0663713001", None, None, None]
    assert read(Column("item_id", "integer", ("id",)), "17", "1.5", "x") == [17, None, None]


def test_a_list_is_flat_and_without_repeats_and_junk():
    assert read(Column("genres", "list", ("genres",), separator="|"), "a| b|a||", "", None) == [["a", "b"], [], None]
    assert read(Column("names", "list", ("names",), junk="</"), ["a", "</p>", "", "a"]) == [["a"]]


def test_a_layout_names_what_a_file_lacks_and_what_is_not_read():
    columns = (Column("item_id", "id", ("asin", "parent_asin"), required=True), Column("price", "number", ("price",)))
    layout = Layout("items", "*.json", columns, records="items", unlike=("user",))
    assert layout.lacks(["price"]) == ["items", "asin or parent_asin"]
    assert layout.fits(["asin", "items", "price"])
    assert not Layout("items", "*.json", columns).fits(["asin", "rank"])
    assert not layout.fits(["asin", "items", "price", "user"])
    assert (layout.unread(["asin", "items", "rank"]), layout.absent(["asin", "items"])) == (["rank"], ["price"])


def test_a_name_is_matched_gzipped_or_not(tmp_path):
    layout = Layout("events", "events*.csv", ())
    names = ("events.csv", "Events_1.CSV.gz", "events.json", "my_events.csv")
    assert [layout.is_named(tmp_path / name) for name in names] == [True, True, False, False]
