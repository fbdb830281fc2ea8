"""Tiny files in exactly the formats of the MovieLens downloads."""

import polars as pl
import pytest

from features.importers import movielens
from features.importers.importers import convert_download
from recsys.config import load_config

MOVIES = [
    (1, "Toy Story (1995)", ["Animation", "Comedy"]),
    (2, "Misérables, Les (1995)", ["Drama"]),
    (3, "Untitled", []),
]
RATINGS = [(1, 2, 5, 978300760), (1, 1, 3, 978302109), (6, 3, 4, 978301968)]


def flags(genres):
    return "|".join(str(int(name in genres)) for name in movielens.GENRES_100K)


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
    counts = convert_download("movielens", [tmp_path / "ml"], tmp_path / "out")
    assert counts.rows == {"events": 3, "items": 3} | ({"users": 2} if users else {})
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


def test_bad_movielens_folders_are_clear_errors(tmp_path):
    with pytest.raises(ValueError, match=r"no MovieLens download at .*u\.data, ratings\.dat, ratings\.csv"):
        convert_download("movielens", [tmp_path], tmp_path / "out")
    write_dat(tmp_path)
    (tmp_path / "movies.dat").write_text("1::Toy Story (1995)::Comedy\n2::Heat\n")
    with pytest.raises(ValueError, match=r"movies\.dat, line 2: expected 3 fields"):
        convert_download("movielens", [tmp_path], tmp_path / "out")
    (tmp_path / "movies.dat").unlink()
    with pytest.raises(ValueError, match=r"movies\.dat is missing"):
        convert_download("movielens", [tmp_path], tmp_path / "out")
    (tmp_path / "csv").mkdir()
    write_csv(tmp_path / "csv")
    ratings = (tmp_path / "csv" / "ratings.csv").read_text()
    (tmp_path / "csv" / "ratings.csv").write_text(ratings + "3,4,5.0,yesterday\n")
    with pytest.raises(ValueError, match="timestamp cannot be read in 1 of 4 rows, such as 'yesterday'"):
        convert_download("movielens", [tmp_path / "csv"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_dat(tmp_path)
    convert_download("movielens", [tmp_path], tmp_path / "out")
    with pytest.raises(ValueError, match="exists; choose another --out"):
        convert_download("movielens", [tmp_path], tmp_path / "out")


def test_more_than_one_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="2 paths; expected one"):
        movielens.read_movielens([tmp_path, tmp_path], tmp_path)


def test_the_columns_of_ratings_are_taken_by_name(tmp_path):
    write_csv(tmp_path)
    (tmp_path / "ratings.csv").write_text("timestamp,rating,movieId,userId\n978300760,5.0,2,1\n")
    convert_download("movielens", [tmp_path], tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "events.parquet").rows() == [(1, 2, 5.0, 978300760)]
    (tmp_path / "ratings.csv").write_text("user,movieId,rating,timestamp\n1,2,5.0,978300760\n")
    with pytest.raises(ValueError, match=r"has user, movieId, rating, timestamp; expected events with userId, movieId"):
        convert_download("movielens", [tmp_path], tmp_path / "other")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\t2\t5\n", "has 3 fields a line; expected events with 4 fields: userId, movieId, rating, timestamp"),
        ("1\t2\t978300760\t5\n", "the last timestamp is 5"),
        ("user\titem\trating\ttime\n", "begins with .*; expected .* without a header"),
    ],
)
def test_ratings_of_100k_in_another_order_are_refused(tmp_path, row, message):
    write_100k(tmp_path)
    (tmp_path / "u.data").write_text(row)
    with pytest.raises(ValueError, match=message):
        convert_download("movielens", [tmp_path], tmp_path / "out")
    write_100k(tmp_path)
    (tmp_path / "u.item").write_text("1|Toy Story (1995)|Comedy\n")
    with pytest.raises(ValueError, match=r"u\.item, line 1: expected 24 fields"):
        convert_download("movielens", [tmp_path], tmp_path / "out")


def test_a_line_of_too_many_fields_and_two_editions_in_one_folder_are_refused(tmp_path):
    write_dat(tmp_path)
    (tmp_path / "ratings.dat").write_text("1::2::5::978300760::9\n")
    with pytest.raises(ValueError, match=r"ratings\.dat has a line '1::2::5::978300760::9'; expected 4 fields"):
        convert_download("movielens", [tmp_path], tmp_path / "out")
    write_csv(tmp_path)
    with pytest.raises(ValueError, match=r"has ratings\.dat and ratings\.csv; expected one edition"):
        convert_download("movielens", [tmp_path], tmp_path / "out")
