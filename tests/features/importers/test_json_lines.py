import gzip

import polars as pl
import pytest

from features.importers import json_lines
from features.importers.json_lines import first_keys, shown, write_as_text
from features.importers.layout import Column, Layout

COLUMNS = (
    Column("item_id", "id", ("asin", "id")), Column("title", "text", ("title",)), Column("price", "number", ("price",)),
    Column("names", "list", ("names",), member="name"), Column("kinds", "list", ("kinds",), separator=","),
)  # fmt: skip
LAYOUT = Layout("items", "*.json", COLUMNS)


def text_of(path, layout, folder):
    return write_as_text(path, layout, folder), pl.read_parquet(folder / "*.parquet").rows()


def test_fields_are_taken_by_name_whatever_their_order_and_nesting(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "BATCH", 2)  # several Parquet files
    path = tmp_path / "a.json"
    path.write_text(
        "\ufeff"
        '{"asin": "B1", "price": 4.5, "names": "Books", "extra": 1}\n\n'
        "{u'id': 7, 'title': 'a', 'names': ['a', [['b']], {'name': 'c'}, None, 5], 'kinds': ['x', 'y, z']}\n"
        '{"asin": null, "id": "B3", "title": "", "kinds": "x, y"}\n'
    )
    keys, rows = text_of(path, LAYOUT, tmp_path / "text")
    assert set(keys) == {"asin", "price", "names", "extra", "id", "title", "kinds"}
    assert rows == [
        ("B1", None, "4.5", ["Books"], None), ("7", "a", None, ["a", "b", "c", "5"], "x,y, z"),
        ("B3", None, None, None, "x, y"),
    ]  # fmt: skip
    assert first_keys(path) == ["asin", "price", "names", "extra", "id", "title", "kinds"]


def test_half_a_surrogate_pair_in_a_text_is_replaced(tmp_path):
    (tmp_path / "a.json").write_text(r'{"asin": "B1", "title": "a\ud800b", "names": ["\udfffc"]}' + "\n")
    assert text_of(tmp_path / "a.json", LAYOUT, tmp_path / "text")[1] == [("B1", "a?b", None, ["?c"], None)]


def test_records_inside_a_record_are_rows_with_its_fields(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{'user': 'u', 'items': [{'id': '1'}, {'id': '2'}]}\n{'user': 'v', 'items': []}\n")
    columns = (Column("user_id", "id", ("user",)), Column("item_id", "id", ("id",)))
    keys, rows = text_of(path, Layout("events", "", columns, records="items"), tmp_path / "text")
    assert (set(keys), rows) == ({"user", "items", "id"}, [("u", "1"), ("u", "2")])
    path.write_text("{'user': 'u', 'items': 3}\n")
    with pytest.raises(ValueError, match=r"line 1: items is 3; expected a list of records"):
        write_as_text(path, Layout("events", "", columns, records="items"), tmp_path / "more")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"asin": 1.5}', "asin is 1.5; expected text or a whole number"),
        ('{"asin": true}', "asin is True; expected text or a whole number"),
        ('{"asin": ["B1"]}', r"asin is \['B1'\]; expected text or a whole number"),
        (r'{"asin": "\ud800"}', "asin is .*; expected text or a whole number"),
        ('{"price": {"usd": 4}}', "price is .*; expected a number"),
        ('{"title": ["a", "b"]}', "title is .*; expected text"),
        ('{"names": [{"nom": "a"}]}', "names holds .*; expected a list of texts"),
        ("17", "expected one JSON record a line"),
        ("{broken", "expected one JSON record a line"),
        ("[" * 100_000, "expected one JSON record a line"),
    ],
)
def test_a_field_of_another_type_is_refused_with_its_line(tmp_path, line, message):
    (tmp_path / "a.json").write_text('{"asin": "B0"}\n' + line + "\n")
    with pytest.raises(ValueError, match=f"line 2: {message}"):
        write_as_text(tmp_path / "a.json", LAYOUT, tmp_path / "text")


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "MAX_LINE", 100)
    (tmp_path / "a.json").write_text('{"asin": "' + "B" * 200)
    with pytest.raises(ValueError, match="line 1 has over 100 characters"):
        first_keys(tmp_path / "a.json")


def test_an_interrupted_download_is_a_clear_error(tmp_path):
    whole = gzip.compress(b'{"asin": "B1"}\n' * 5000)
    for torn in (whole[:-20], whole[:60], whole[:40] + bytes(100), b"no gzip"):
        (tmp_path / "a.json.gz").write_bytes(torn)
        with pytest.raises(ValueError, match=r"a\.json\.gz is damaged after line \d+ .*; download it again"):
            text_of(tmp_path / "a.json.gz", LAYOUT, tmp_path / f"text{len(torn)}")


def test_a_long_value_is_cut_where_it_is_shown():
    assert (shown("a"), len(shown("a" * 100))) == ("'a'", 60)
