"""Tiny files in exactly the formats of the Amazon downloads."""

import gzip

import polars as pl
import pytest

from features.importers.importers import convert_download
from recsys.config import load_config
from tests.features.importers.conftest import lines

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


@pytest.mark.parametrize(
    ("reviews", "meta"), [(REVIEWS_2014, META_2014), (REVIEWS_2023, META_2023)], ids=["2014", "2023"]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_both_generations_of_amazon_give_the_same_tables(tmp_path, reviews, meta, zipped):
    paths = []
    for name, rows in (("meta", [*meta, meta[0]]), ("reviews", reviews)):
        paths.append(tmp_path / (f"{name}.json.gz" if zipped else f"{name}.jsonl"))
        paths[-1].write_bytes(gzip.compress(lines(*rows).encode()) if zipped else lines(*rows).encode())
    assert convert_download("amazon", paths, tmp_path / "out").rows == {"events": 2, "items": 2}
    events = pl.read_parquet(tmp_path / "out" / "events.parquet")
    assert events.select("user_id", "item_id", "rating").rows() == [("A1", "B1", 5.0), ("A2", "B2", 1.0)]
    assert events["timestamp"].dtype == pl.Int64
    assert pl.read_parquet(tmp_path / "out" / "items.parquet").rows() == [
        ("B1", "It's soap", "Dove", ["Beauty", "Bath"], 4.5), ("B2", None, None, ["Beauty"], None),
    ]  # fmt: skip
    features = load_config(tmp_path / "out" / "config.toml").features.item
    assert {feature.name for feature in features} == {"title", "brand", "categories", "price"}


def test_reviews_alone_are_enough(tmp_path):
    (tmp_path / "reviews.json").write_text(lines(*REVIEWS_2014))
    assert convert_download("amazon", [tmp_path / "reviews.json"], tmp_path / "out").rows == {"events": 2}
    assert load_config(tmp_path / "out" / "config.toml").data.items is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; expected JSON lines"),
        ('{"a": 1}\n', "has a; expected events with reviewerID or user_id, parent_asin or asin"),
        (lines(*REVIEWS_2014) + "{broken\n", "line 3: expected one JSON record a line"),
        (lines(*META_2014), "no file holds events"),
        ("[1, 2]\n", "line 1: expected one JSON record a line"),
        (lines(*REVIEWS_2014) + "17\n", "line 3: expected one JSON record a line"),
        (lines(REVIEWS_2014[0] | {"overall": "good"}), r"rating cannot be read in 1 of 1 rows, such as 'good'"),
        (lines(REVIEWS_2014[0] | {"unixReviewTime": 1.5}), r"the last timestamp is 1\.5; expected seconds or milli"),
        (
            lines({"reviewerID": "A1", "asin": "B1"}),
            "has reviewerID, asin; expected events with .*unixReviewTime or time",
        ),
        (lines({"asin": "B1", "title": ["a", "b"]}), r"line 1: title is \['a', 'b'\]; expected text"),
        (lines({"asin": ["B1"], "title": "a"}), r"line 1: asin is \['B1'\]; expected text or a whole number"),
    ],
)
def test_bad_amazon_files_are_clear_errors(tmp_path, content, message):
    (tmp_path / "file.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        convert_download("amazon", [tmp_path / "file.json"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_metadata_of_2018_is_cleaned_and_what_was_cleaned_is_said(import_files):
    meta = [
        {
            "asin": "B1",
            "title": "<span>getTime()</span>",
            "category": ["Beauty", "</span>", "Bath"],
            "price": "$1,299.00",
        },
        {"asin": "B2", "category": "Books", "price": ".a-box-inner{background-color:#fff}", "brand": ""},
        '{"asin": "B3", "category": [["a", ["b"]]], "price": NaN, "also_buy": ["B1"]}',
    ]
    amazon = import_files("amazon", {"reviews.json": lines(*REVIEWS_2014), "meta.json.gz": lines(*meta)})
    assert amazon.items.rows() == [
        ("B1", None, None, ["Beauty", "Bath"], 1299.0), ("B2", None, None, ["Books"], None),
        ("B3", None, None, ["a", "b"], None),
    ]  # fmt: skip
    assert amazon.notes == [
        "reviews.json: not read: reviewText",
        "meta.json.gz: title cannot be read in 1 of 3 rows, such as '<span>getTime()</span>'",
        "meta.json.gz: price cannot be read in 2 of 3 rows, such as '.a-box-inner{background-color:#fff}'",
        "meta.json.gz: not read: also_buy",
    ]


def test_a_first_record_that_lacks_fields_is_left_out(import_files):
    amazon = import_files("amazon", {"reviews.json": lines({"reviewerID": "A9", "overall": 1.0}, *REVIEWS_2014)})
    assert amazon.events["user_id"].to_list() == ["A1", "A2"]
    assert "events: rows left out without item_id: 1" in amazon.notes


def test_what_is_no_markup_stays(import_files):
    meta = [{"asin": f"B{number}", "title": title} for number, title in enumerate(("I <3 tea > it", "<p>x", "a & b"))]
    amazon = import_files("amazon", {"reviews.json": lines(*REVIEWS_2014), "meta.json": lines(*meta)})
    assert amazon.items["title"].to_list() == ["I <3 tea > it", None, "a & b"]


def test_a_fraction_of_a_second_is_kept(import_files):
    reviews = [REVIEWS_2014[0], REVIEWS_2014[1] | {"unixReviewTime": 1355443200.5}]
    amazon = import_files("amazon", {"reviews.json": lines(*reviews)})
    assert amazon.events["timestamp"].to_list() == [1369699200, 1355443200.5]


RATINGS = ("A2SUAM1J3GNN3B", "B000000001", "5.0", "1400457600"), ("A1AAAAAAAAAAAA", "0439893577", "1.0", "1400457601")


@pytest.mark.parametrize(
    ("header", "order"),
    [("", (0, 1, 2, 3)), ("", (1, 0, 2, 3)), ("user_id,parent_asin,rating,timestamp\n", (0, 1, 2, 3))],
    ids=["2014", "2018", "2023"],
)
def test_ratings_alone_are_read_by_what_they_hold(import_files, header, order):
    rows = "".join(",".join(rating[column] for column in order) + "\n" for rating in RATINGS)
    amazon = import_files("amazon", {"ratings.csv.gz": header + rows})
    assert amazon.events.rows() == [(user, item, float(rating), int(time)) for user, item, rating, time in RATINGS]
    assert amazon.notes == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("A2SUAM1J3GNN3B,A1AAAAAAAAAAAA,5.0,1400457600\n", "0% of the first column and 0% of the second are product"),
        ("B000000001,B000000002,5.0,1400457600\n", "100% of the first column and 100% of the second are product"),
        ("A2SUAM1J3GNN3B,B000000001,1400457600,5.0\n", "the last timestamp is 5"),
        ("item,user,rating,timestamp\nB000000001,A2,5.0,1400457600\n", "begins with .*'timestamp'.*without a header"),
        ("A2SUAM1J3GNN3B,B000000001,5.0\n", "has 3 fields a line; expected events with 4 fields"),
    ],
)
def test_ratings_that_are_not_recognised_are_refused(import_files, content, message):
    with pytest.raises(ValueError, match=message):
        import_files("amazon", {"ratings.csv": content})


def test_an_interrupted_download_is_a_clear_error(tmp_path):
    whole = gzip.compress(lines(REVIEWS_2014 * 500).encode())
    for torn in (whole[:-20], whole[:200], whole[:100] + bytes(100), b"no gzip"):
        (tmp_path / "reviews.json.gz").write_bytes(torn)
        with pytest.raises(ValueError, match=r"reviews\.json\.gz is damaged after line \d+ .*; download it again"):
            convert_download("amazon", [tmp_path / "reviews.json.gz"], tmp_path / "out")
        assert not (tmp_path / "out").exists()
