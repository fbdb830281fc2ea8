"""Tiny files in exactly the formats of the public downloads."""

import gzip
import json

import polars as pl
import pytest

from features import importers
from recsys.config import load_config

MOVIES = [
    (1, "Toy Story (1995)", ["Animation", "Comedy"]),
    (2, "Misérables, Les (1995)", ["Drama"]),
    (3, "Untitled", []),
]
RATINGS = [(1, 2, 5, 978300760), (1, 1, 3, 978302109), (6, 3, 4, 978301968)]


def flags(genres):
    return "|".join(str(int(name in genres)) for name in importers.GENRES_100K)


def write_100k(folder):
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in RATINGS))
    rows = [f"{movie}|{title}|01-Jan-1995||http://x/{movie}|{flags(genres)}\n" for movie, title, genres in MOVIES]
    (folder / "u.item").write_text("".join(rows), "latin-1")
    (folder / "u.user").write_text("1|24|M|technician|85711\n6|53|F|other|94043\n")


def write_dat(folder, *, users=True, encoding="latin-1"):
    (folder / "ratings.dat").write_text("".join("::".join(map(str, row)) + "\n" for row in RATINGS))
    rows = [f"{movie}::{title}::{'|'.join(genres) or '(no genres listed)'}\n" for movie, title, genres in MOVIES]
    (folder / "movies.dat").write_text("".join(rows), encoding)
    if users:
        (folder / "users.dat").write_text("1::M::24::technician::85711\n6::F::53::other::94043\n")


def write_csv(folder):
    rows = "".join(",".join(map(str, row)) + "\n" for row in RATINGS)
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + rows)
    movies = "".join(
        f'{movie},"{title}",{"|".join(genres) or "(no genres listed)"}\n' for movie, title, genres in MOVIES
    )
    (folder / "movies.csv").write_text("movieId,title,genres\n" + movies)


@pytest.mark.parametrize(
    ("write", "users"),
    [
        (write_100k, True),
        (write_dat, True),
        (lambda folder: write_dat(folder, users=False, encoding="utf-8"), False),
        (write_csv, False),
    ],
    ids=["100k", "1M", "10M", "20M to 32M"],
)
def test_every_movielens_layout_gives_the_same_tables(tmp_path, write, users):
    (tmp_path / "ml").mkdir()
    write(tmp_path / "ml")
    counts = importers.movielens(tmp_path / "ml", tmp_path / "out")
    assert counts == {"events": 3, "items": 3} | ({"users": 2} if users else {})
    events = pl.read_parquet(tmp_path / "out" / "events.parquet")
    assert events.columns == ["user_id", "item_id", "rating", "timestamp"]
    assert events.rows() == RATINGS
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    years = [1995, 1995, None]
    assert items.rows() == [
        (movie, title, year, genres) for (movie, title, genres), year in zip(MOVIES, years, strict=True)
    ]
    if users:
        expected = [(1, "M", 24, "technician"), (6, "F", 53, "other")]
        assert pl.read_parquet(tmp_path / "out" / "users.parquet").rows() == expected
    config = load_config(tmp_path / "out" / "config.toml")
    assert (config.data.time, config.data.items) == ("timestamp", str(tmp_path / "out" / "items.parquet"))
    assert {feature.name for feature in config.features.item} == {"genres", "title", "year"}


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
    assert importers.amazon(paths, tmp_path / "out") == {"events": 2, "items": 2}
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
    assert importers.amazon([tmp_path / "reviews.json"], tmp_path / "out") == {"events": 2}
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
        importers.amazon([tmp_path / "file.json"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_download_is_a_clear_error(tmp_path):
    whole = gzip.compress(lines(REVIEWS_2014 * 500).encode())
    for torn in (whole[:-20], whole[:200], whole[:100] + bytes(100), b"no gzip"):
        (tmp_path / "reviews.json.gz").write_bytes(torn)
        with pytest.raises(ValueError, match=r"reviews\.json\.gz is damaged after line \d+ .*; download it again"):
            importers.amazon([tmp_path / "reviews.json.gz"], tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_bad_movielens_folders_are_clear_errors(tmp_path):
    with pytest.raises(ValueError, match=r"no MovieLens download at .*u\.data, ratings\.dat, ratings\.csv"):
        importers.movielens(tmp_path, tmp_path / "out")
    write_dat(tmp_path)
    (tmp_path / "movies.dat").write_text("1::Toy Story (1995)::Comedy\n2::Heat\n")
    with pytest.raises(ValueError, match=r"movies\.dat, line 2: expected 3 fields"):
        importers.movielens(tmp_path, tmp_path / "out")
    (tmp_path / "movies.dat").unlink()
    with pytest.raises(ValueError, match=r"movies\.dat is missing"):
        importers.movielens(tmp_path, tmp_path / "out")
    (tmp_path / "csv").mkdir()
    write_csv(tmp_path / "csv")
    ratings = (tmp_path / "csv" / "ratings.csv").read_text()
    (tmp_path / "csv" / "ratings.csv").write_text(ratings + "3,4,5.0,yesterday\n")
    with pytest.raises(ValueError, match=r"cannot read the download at .*csv: "):
        importers.movielens(tmp_path / "csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_dat(tmp_path)
    importers.movielens(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="exists; choose another --out"):
        importers.movielens(tmp_path, tmp_path / "out")
