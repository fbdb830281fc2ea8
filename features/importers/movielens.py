"""MovieLens: the unpacked folders of 100k, 1M, 10M, 20M, 25M, 32M and latest, which have three layouts."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys.data import input_error_if_unreadable
from recsys.errors import InputError

from .download import REMEDY, Download
from .layout import Column, Layout
from .published_files import read_published

GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
NO_GENRE = "(no genres listed)"
EVENTS = (
    Column("user_id", "integer", ("userId",), required=True),
    Column("item_id", "integer", ("movieId",), required=True),
    Column("rating", "number", ("rating",), required=True),
    Column("timestamp", "time", ("timestamp",), required=True),
)
RATINGS = tuple(column.sources[0] for column in EVENTS)


def _fields_of_line(raw: pl.LazyFrame, scratch: Path) -> pl.LazyFrame:
    """Split lines at two colons, which Polars cannot. Raises InputError on a line of too many fields."""
    too_long = pl.col("line").filter(pl.col("line").str.count_matches("::", literal=True) >= len(RATINGS)).first()
    if (line := raw.select(too_long).collect().item()) is not None:
        raise InputError(f"ratings.dat has a line {line!r}; expected 4 fields: {', '.join(RATINGS)}")
    fields = pl.col("line").str.split_exact("::", len(RATINGS) - 1).struct.rename_fields(list(RATINGS))
    return raw.select(fields).unnest("line")


MOVIES = (
    Column("item_id", "integer", ("movieId",), required=True),
    Column("title", "text", ("title",), required=True),
    Column("genres", "list", ("genres",), required=True, separator="|"),
)
RATINGS_100K = Layout("events", "u.data", EVENTS, separator="\t", header=RATINGS)
RATINGS_DAT = Layout("events", "ratings.dat", EVENTS, separator="\n", header=("line",), prepare=_fields_of_line)
RATINGS_CSV = Layout("events", "ratings.csv", EVENTS, separator=",")
MOVIES_CSV = Layout("items", "movies.csv", MOVIES, separator=",")


def read_movielens(paths: Sequence[Path], scratch: Path) -> Download:
    """Read an unpacked MovieLens folder.

    Args:
        paths: The one folder inside the archive.
        scratch: An empty folder for interim files.

    Raises:
        InputError: The folder has none of the known layouts, or is damaged.
    """
    if len(paths) != 1:
        raise InputError(f"{len(paths)} paths; expected one: the folder inside the MovieLens archive")
    folder = paths[0]
    editions = {"u.data": _read_100k, "ratings.dat": _read_dat, "ratings.csv": _read_csv}
    present = [name for name in editions if (folder / name).is_file()]
    if len(present) > 1:
        raise InputError(f"{folder} has {' and '.join(present)}; expected one edition: move the other away")
    for name, read in editions.items():
        if name in present:
            with input_error_if_unreadable(f"the download at {folder}", REMEDY):
                return read(folder, scratch)
    raise InputError(
        f"no MovieLens download at {folder}; expected a folder with {', '.join(editions)}: unpack the archive "
        "and name the folder inside"
    )


def _read_100k(folder: Path, scratch: Path) -> Download:
    events = read_published("MovieLens", [RATINGS_100K], [folder / "u.data"], scratch)
    items = _read_fields(folder / "u.item", "|", 5 + len(GENRES_100K))
    flags = items.select(f"field_{5 + number}" for number in range(len(GENRES_100K)))
    genres = [[genre for genre, flag in zip(GENRES_100K, row, strict=True) if flag == "1"] for row in flags.rows()]
    users = _read_fields(folder / "u.user", "|", 5)
    movies = items.select("field_0", title="field_1", genres=pl.Series(genres, dtype=pl.List(pl.String)))
    return Download(
        events=events.by_name["events"],
        items=_movies(movies.with_columns(item_id=pl.col("field_0").cast(pl.Int64)).lazy()),
        users=_users(users, gender="field_2", age="field_1"),
        notes=tuple(events.notes),
    )


def _read_dat(folder: Path, scratch: Path) -> Download:
    """1M and 10M: two colons separate the fields; titles are Latin-1 or UTF-8."""
    events = read_published("MovieLens", [RATINGS_DAT], [folder / "ratings.dat"], scratch)
    fields = _read_fields(folder / "movies.dat", "::", 3)
    movies = fields.select(
        pl.col("field_0").cast(pl.Int64).alias("item_id"), title="field_1", genres=pl.col("field_2").str.split("|")
    )
    users = folder / "users.dat"
    return Download(
        events=events.by_name["events"],
        items=_movies(movies.lazy()),
        users=_users(_read_fields(users, "::", 5), gender="field_1", age="field_2") if users.is_file() else None,
        notes=tuple(events.notes),
    )


def _read_csv(folder: Path, scratch: Path) -> Download:
    """20M, 25M, 32M and "latest"."""
    if not (folder / "movies.csv").is_file():
        raise InputError(f"{folder / 'movies.csv'} is missing; expected the whole download: unpack it again")
    paths = [folder / "ratings.csv", folder / "movies.csv"]
    tables = read_published("MovieLens", [RATINGS_CSV, MOVIES_CSV], paths, scratch)
    return Download(tables.by_name["events"], _movies(tables.by_name["items"]), notes=tuple(tables.notes))


def _movies(movies: pl.LazyFrame) -> pl.LazyFrame:
    """item_id, title, year (from the end of the title) and genres."""
    year = pl.col("title").str.extract(r"\((\d{4})[^)]*\)\s*$").cast(pl.Int64)
    known_genres = pl.col("genres").list.eval(pl.element().filter(pl.element() != NO_GENRE))
    return movies.select("item_id", "title", year.alias("year"), known_genres)


def _users(fields: pl.DataFrame, *, gender: str, age: str) -> pl.LazyFrame:
    """user_id, gender, age and occupation. gender, age: the fields that hold them."""
    return fields.lazy().select(
        pl.col("field_0").cast(pl.Int64).alias("user_id"),
        pl.col(gender).alias("gender"),
        pl.col(age).cast(pl.Int64).alias("age"),
        pl.col("field_3").alias("occupation"),
    )


def _read_fields(path: Path, separator: str, num_fields: int) -> pl.DataFrame:
    """Read a small text file without a header into string columns field_0, field_1, ..."""
    if not path.is_file():
        raise InputError(f"{path} is missing; expected the whole download: unpack it again")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # an older download
        text = content.decode("latin-1")
    rows = [line.split(separator) for line in text.splitlines() if line]
    odd_line = next((number for number, row in enumerate(rows, 1) if len(row) != num_fields), None)
    if not rows or odd_line:
        raise InputError(f"{path}, line {odd_line or 1}: expected {num_fields} fields separated by {separator!r}")
    return pl.DataFrame(rows, [f"field_{number}" for number in range(num_fields)], orient="row")
