"""MovieLens: the unpacked folders of 100k, 1M, 10M, 20M, 25M, 32M and latest, which have three layouts."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys.data import input_error_if_unreadable
from recsys.errors import InputError

from .download import REMEDY, Download

GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
EVENTS = pl.Schema({"user_id": pl.Int64, "item_id": pl.Int64, "rating": pl.Float32, "timestamp": pl.Int64})
NO_GENRE = "(no genres listed)"


def read_movielens(paths: Sequence[Path]) -> Download:
    """Read an unpacked MovieLens folder.

    Args:
        paths: The one folder inside the archive.

    Raises:
        InputError: The folder has none of the known layouts, or is damaged.
    """
    if len(paths) != 1:
        raise InputError(f"{len(paths)} paths; expected one: the folder inside the MovieLens archive")
    layouts = {"u.data": _read_100k, "ratings.dat": _read_dat, "ratings.csv": _read_csv}
    for name, read in layouts.items():
        if (paths[0] / name).is_file():
            with input_error_if_unreadable(f"the download at {paths[0]}", REMEDY):
                return read(paths[0])
    raise InputError(
        f"no MovieLens download at {paths[0]}; expected a folder with {', '.join(layouts)}: unpack the archive "
        "and name the folder inside"
    )


def _read_100k(folder: Path) -> Download:
    items = _read_fields(folder / "u.item", "|")
    flags = items.select(f"field_{5 + number}" for number in range(len(GENRES_100K)))
    genres = [[genre for genre, flag in zip(GENRES_100K, row, strict=True) if flag == "1"] for row in flags.rows()]
    users = _read_fields(folder / "u.user", "|")
    return Download(
        events=pl.read_csv(folder / "u.data", separator="\t", has_header=False, schema=EVENTS),
        items=_movies(items["field_0"], items["field_1"], pl.Series(genres, dtype=pl.List(pl.String))),
        users=_users(users, gender="field_2", age="field_1"),
    )


def _read_dat(folder: Path) -> Download:
    """1M and 10M: two colons separate the fields; titles are Latin-1 or UTF-8."""
    movies = _read_fields(folder / "movies.dat", "::")
    fields = pl.col("line").str.split_exact("::", len(EVENTS) - 1).struct.rename_fields(list(EVENTS))
    lines = pl.scan_csv(folder / "ratings.dat", separator="\n", has_header=False, new_columns=["line"], quote_char=None)
    has_users = (folder / "users.dat").is_file()
    return Download(
        events=lines.select(fields).unnest("line").cast(EVENTS).collect(),
        items=_movies(movies["field_0"], movies["field_1"], movies["field_2"].str.split("|")),
        users=_users(_read_fields(folder / "users.dat", "::"), gender="field_1", age="field_2") if has_users else None,
    )


def _read_csv(folder: Path) -> Download:
    """20M, 25M, 32M and "latest"."""
    if not (folder / "movies.csv").is_file():
        raise InputError(f"{folder / 'movies.csv'} is missing; expected the whole download: unpack it again")
    movies = pl.read_csv(folder / "movies.csv", schema_overrides={"title": pl.String, "genres": pl.String})
    ratings = pl.read_csv(folder / "ratings.csv", new_columns=list(EVENTS))
    return Download(
        events=ratings.cast(EVENTS),
        items=_movies(movies["movieId"], movies["title"], movies["genres"].str.split("|")),
    )


def _movies(ids: pl.Series, titles: pl.Series, genres: pl.Series) -> pl.DataFrame:
    """item_id, title, year (from the end of the title) and genres."""
    table = pl.DataFrame({"item_id": ids.cast(pl.Int64), "title": titles, "genres": genres})
    year = pl.col("title").str.extract(r"\((\d{4})[^)]*\)\s*$").cast(pl.Int64)
    known_genres = pl.col("genres").list.eval(pl.element().filter(pl.element() != NO_GENRE))
    return table.select("item_id", "title", year.alias("year"), known_genres)


def _users(fields: pl.DataFrame, *, gender: str, age: str) -> pl.DataFrame:
    """user_id, gender, age and occupation. gender, age: the fields that hold them."""
    return fields.select(
        pl.col("field_0").cast(pl.Int64).alias("user_id"),
        pl.col(gender).alias("gender"),
        pl.col(age).cast(pl.Int64).alias("age"),
        pl.col("field_3").alias("occupation"),
    )


def _read_fields(path: Path, separator: str) -> pl.DataFrame:
    """Read a small text file without a header into string columns field_0, field_1, ..."""
    if not path.is_file():
        raise InputError(f"{path} is missing; expected the whole download: unpack it again")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:  # an older download
        text = content.decode("latin-1")
    rows = [line.split(separator) for line in text.splitlines() if line]
    num_fields = len(rows[0]) if rows else 0
    odd_line = next((number for number, row in enumerate(rows, 1) if len(row) != num_fields), None)
    if not rows or odd_line:
        raise InputError(
            f"{path}, line {odd_line or 1}: expected {num_fields or 'some'} fields separated by {separator!r}"
        )
    return pl.DataFrame(rows, [f"field_{number}" for number in range(num_fields)], orient="row")
