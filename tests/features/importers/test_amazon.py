"""Tiny files in exactly the formats of the Amazon downloads."""

import gzip
import json

import polars as pl
import pytest

from features.importers.importers import convert_download
from recsys.config import load_config

REVIEWS_2014 = [
    {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1369699200, "reviewText": "good"},
    {"reviewerID": "A2", "asin": "B2", "overall": 1.0, "unixReviewTime": 1355443200},
]
META_2014 = [
    "{'asin': 'B1', 'title': \"It's soap\", 'brand': 'Dove', 'price': 4.5, "
    "'categories': [['Beauty', 'Bath'], ['Beauty']]}",
    "{'asin': 'B2', 'categories': [['Beauty']]}",
]
REVIEWS_2023 = [
    {"user_id": "A1", "parent_asin": "B1", "asin": "B1x", "rating": 5.0, "timestamp": 1588615855070},
    {"user_id": "A2", "parent_asin": "B2", "asin": "B2", "rating": 1.0, "timestamp": 1588615855071},
]
META_2023 = [
    {"parent_asin": "B1", "title": "It's soap", "store": "Dove", "price": "$4.50", "categories": ["Beauty", "Bath"]},
    {"parent_asin": "B2", "title": None, "store": None, "price": "from 3 to 5", "categories": ["Beauty"]},
]


def lines(rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("reviews", "meta"), [(REVIEWS_2014, META_2014), (REVIEWS_2023, META_2023)], ids=["2014", "2023"]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_both_generations_of_amazon_give_the_same_tables(tmp_path, reviews, meta, zipped):
    paths = []
    for name, rows in (("meta", [*meta, meta[0]]), ("reviews", reviews)):
        paths.append(tmp_path / (f"{name}.json.gz" if zipped else f"{name}.jsonl"))
        paths[-1].write_bytes(gzip.compress(lines(rows).encode()) if zipped else lines(rows).encode())
    assert convert_download("amazon", paths, tmp_path / "out") == {"events": 2, "items": 2}
    events = pl.read_parquet(tmp_path / "out" / "events.parquet")
    assert events.select("user_id", "item_id", "rating").rows() == [("A1", "B1", 5.0), ("A2", "B2", 1.0)]
    assert events["timestamp"].dtype == pl.Int64
    assert pl.read_parquet(tmp_path / "out" / "items.parquet").rows() == [
        ("B1", "It's soap", "Dove", ["Beauty", "Bath"], 4.5), ("B2", None, None, ["Beauty"], None),
    ]  # fmt: skip
    features = load_config(tmp_path / "out" / "config.toml").features.item
    assert {feature.name for feature in features} == {"title", "brand", "categories", "price"}


def test_reviews_alone_are_enough(tmp_path):
    (tmp_path / "reviews.json").write_text(lines(REVIEWS_2014))
    assert convert_download("amazon", [tmp_path / "reviews.json"], tmp_path / "out") == {"events": 2}
    assert load_config(tmp_path / "out" / "config.toml").data.items is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; expected JSON lines"),
        ('{"a": 1}\n', "has a; expected reviews"),
        (lines(REVIEWS_2014) + "{broken\n", "line 3: expected one JSON record a line"),
        (lines(META_2014), "no file holds reviews"),
        ("[1, 2]\n", "line 1: expected one JSON record a line"),
        (lines(REVIEWS_2014) + "17\n", "line 3: expected one JSON record a line"),
        ('{"reviewerID": "A1", "asin": "B1", "overall": "good"}\n', r"cannot read the download at .*file\.json: "),
        ('{"asin": "B1", "title": ["a", "b"]}\n', r"cannot read the download at .*file\.json: "),
    ],
)
def test_bad_amazon_files_are_clear_errors(tmp_path, content, message):
    (tmp_path / "file.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        convert_download("amazon", [tmp_path / "file.json"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_download_is_a_clear_error(tmp_path):
    whole = gzip.compress(lines(REVIEWS_2014 * 500).encode())
    for torn in (whole[:-20], whole[:200], whole[:100] + bytes(100), b"no gzip"):
        (tmp_path / "reviews.json.gz").write_bytes(torn)
        with pytest.raises(ValueError, match=r"reviews\.json\.gz is damaged after line \d+ .*; download it again"):
            convert_download("amazon", [tmp_path / "reviews.json.gz"], tmp_path / "out")
        assert not (tmp_path / "out").exists()
