"""Public downloads to our Parquet: MovieLens (100k, 1M, 10M to 32M) and Amazon reviews (2014, 2023).

Each importer writes a folder, all or nothing:

    events.parquet    user_id, item_id, rating, timestamp
    items.parquet     item_id, title and what the download says of items
    users.parquet     user_id, gender, age, occupation; where the download has it
    config.toml       a first configuration that names them
"""

import ast
import gzip
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from recsys import files
from recsys.data import input_error_if_unreadable
from recsys.errors import InputError

GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
EVENTS = pl.Schema({"user_id": pl.Int64, "item_id": pl.Int64, "rating": pl.Float32, "timestamp": pl.Int64})
AMAZON_EVENTS = pl.Schema({"user_id": pl.String, "item_id": pl.String, "rating": pl.Float32, "timestamp": pl.Int64})
AMAZON_ITEMS = pl.Schema({
    "item_id": pl.String(), "title": pl.String(), "brand": pl.String(), "categories": pl.List(pl.String()),
    "price": pl.Float64(),
})  # fmt: skip
NO_GENRE = "(no genres listed)"
AGAIN = "download it again"


def movielens(path: Path, out: Path) -> dict[str, int]:
    """Import an unpacked MovieLens folder, whichever size; returns the number of rows by table.

    Raises InputError where ``path`` has none of the known layouts, or ``out`` exists.
    """
    layouts = {"u.data": _movielens_100k, "ratings.dat": _movielens_dat, "ratings.csv": _movielens_csv}
    for name, read in layouts.items():
        if (path / name).is_file():
            with input_error_if_unreadable(f"the download at {path}", AGAIN):
                tables = read(path)
            return _write(tables, out, {"genres": "multi_categorical", "title": "text", "year": "numeric"})
    raise InputError(
        f"no MovieLens download at {path}; expected a folder with {', '.join(layouts)}: unpack the archive and name "
        "the folder inside"
    )


def amazon(paths: Sequence[Path], out: Path) -> dict[str, int]:
    """Import review files and metadata files (JSON lines, gzipped or not); returns the number of rows by table.

    Which is which is read from their first line. Raises InputError where a file cannot be read, no file holds reviews,
    or ``out`` exists.
    """
    events, items = [], []
    for path in paths:
        rows = _json_lines(path)
        first = next(rows, None)
        if first is None:
            raise InputError(f"{path} is empty; expected JSON lines of reviews or of metadata")
        rows = itertools.chain([first], rows)
        with input_error_if_unreadable(f"the download at {path}", AGAIN):
            if "reviewerID" in first or {"user_id", "rating"} <= first.keys():
                events.append(pl.DataFrame(map(_review, rows), AMAZON_EVENTS, orient="row"))
            elif {"asin", "parent_asin"} & first.keys():
                items.append(pl.DataFrame(map(_product, rows), AMAZON_ITEMS, orient="row"))
            else:
                raise InputError(
                    f"{path} has {', '.join(first)}; expected reviews (reviewerID or user_id) or metadata (asin)"
                )
    if not events:
        raise InputError("no file holds reviews; expected one at least, beside any metadata")
    tables = {"events": pl.concat(events)}
    if items:
        tables["items"] = pl.concat(items).unique("item_id", keep="first", maintain_order=True)
    kinds = {"brand": "categorical", "categories": "multi_categorical", "title": "text", "price": "numeric"}
    return _write(tables, out, kinds)


def _movielens_100k(path: Path) -> dict[str, pl.DataFrame]:
    items = _fields(path / "u.item", "|")
    flags = items.select(f"field_{5 + place}" for place in range(len(GENRES_100K)))
    genres = [[name for name, flag in zip(GENRES_100K, row, strict=True) if flag == "1"] for row in flags.rows()]
    users = _fields(path / "u.user", "|")
    return {
        "events": pl.read_csv(path / "u.data", separator="\t", has_header=False, schema=EVENTS),
        "items": _movies(items["field_0"], items["field_1"], pl.Series(genres, dtype=pl.List(pl.String))),
        "users": users.select(
            pl.col("field_0").cast(pl.Int64).alias("user_id"), gender="field_2", age=pl.col("field_1").cast(pl.Int64),
            occupation="field_3",
        ),
    }  # fmt: skip


def _movielens_dat(path: Path) -> dict[str, pl.DataFrame]:
    """1M and 10M: fields apart by two colons, titles in Latin-1 or UTF-8."""
    movies = _fields(path / "movies.dat", "::")
    parts = pl.col("line").str.split_exact("::", len(EVENTS) - 1).struct.rename_fields(list(EVENTS))
    lines = pl.scan_csv(path / "ratings.dat", separator="\n", has_header=False, new_columns=["line"], quote_char=None)
    tables = {
        "events": lines.select(parts).unnest("line").cast(EVENTS).collect(),
        "items": _movies(movies["field_0"], movies["field_1"], movies["field_2"].str.split("|")),
    }
    if (path / "users.dat").is_file():
        users = _fields(path / "users.dat", "::")
        tables["users"] = users.select(
            pl.col("field_0").cast(pl.Int64).alias("user_id"), gender="field_1", age=pl.col("field_2").cast(pl.Int64),
            occupation="field_3",
        )  # fmt: skip
    return tables


def _movielens_csv(path: Path) -> dict[str, pl.DataFrame]:
    """20M, 25M, 32M and "latest"."""
    if not (path / "movies.csv").is_file():
        raise InputError(f"{path / 'movies.csv'} is missing; expected the whole download: unpack it again")
    movies = pl.read_csv(path / "movies.csv", schema_overrides={"title": pl.String, "genres": pl.String})
    ratings = pl.read_csv(path / "ratings.csv", new_columns=list(EVENTS))
    return {
        "events": ratings.cast(EVENTS),
        "items": _movies(movies["movieId"], movies["title"], movies["genres"].str.split("|")),
    }


def _movies(ids: pl.Series, titles: pl.Series, genres: pl.Series) -> pl.DataFrame:
    """item_id, title, year (from the end of the title), genres."""
    table = pl.DataFrame({"item_id": ids.cast(pl.Int64), "title": titles, "genres": genres})
    year = pl.col("title").str.extract(r"\((\d{4})[^)]*\)\s*$").cast(pl.Int64)
    listed = pl.col("genres").list.eval(pl.element().filter(pl.element() != NO_GENRE))
    return table.select("item_id", "title", year.alias("year"), listed)


def _fields(path: Path, separator: str) -> pl.DataFrame:
    """A small text file without a header as columns field_0, field_1, ... of strings."""
    if not path.is_file():
        raise InputError(f"{path} is missing; expected the whole download: unpack it again")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:  # the older downloads
        text = content.decode("latin-1")
    rows = [line.split(separator) for line in text.splitlines() if line]
    width = len(rows[0]) if rows else 0
    odd = next((number for number, row in enumerate(rows, 1) if len(row) != width), None)
    if not rows or odd:
        raise InputError(f"{path}, line {odd or 1}: expected {width or 'some'} fields separated by {separator!r}")
    return pl.DataFrame(rows, [f"field_{place}" for place in range(width)], orient="row")


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file of JSON lines; the metadata of 2014 is Python literals instead."""
    if not path.is_file():
        raise InputError(f"no file at {path}; expected JSON lines, gzipped or not")
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                record = _record(line)
                if not isinstance(record, dict):
                    raise InputError(f"{path}, line {number}: expected one JSON record a line")
                yield record
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise InputError(f"{path} is damaged after line {number} ({error}); {AGAIN}") from error


def _record(line: str) -> object:
    """The value that a line holds; None where it holds none."""
    with suppress(ValueError):
        return json.loads(line)
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(line)
    return None


def _review(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """2014: reviewerID, asin, overall, unixReviewTime (s). 2023: user_id, parent_asin, rating, timestamp (ms)."""
    if "reviewerID" in row:
        return row["reviewerID"], row.get("asin"), row.get("overall"), row.get("unixReviewTime")
    return row.get("user_id"), row.get("parent_asin") or row.get("asin"), row.get("rating"), row.get("timestamp")


def _product(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """2014: asin, brand, categories (lists of lists). 2023: parent_asin, store, categories (one list)."""
    categories = row.get("categories") or []
    flat = [name for part in categories for name in (part if isinstance(part, list) else [part])]
    brand, item_id = row.get("brand") or row.get("store"), row.get("parent_asin") or row.get("asin")
    return item_id, row.get("title"), brand, list(dict.fromkeys(flat)), _price(row.get("price"))


def _price(value: object) -> float | None:
    """A number, or text such as "$1,234.50"; anything else ("from 12.99 to 20") is no price."""
    try:
        return float(str(value).replace("$", "").replace(",", ""))
    except ValueError:
        return None


def _write(tables: Mapping[str, pl.DataFrame], out: Path, kinds: Mapping[str, str]) -> dict[str, int]:
    if out.exists():
        raise InputError(f"{out} exists; choose another --out or remove it")
    lines = ["[data]", 'events = "events.parquet"', 'time = "timestamp"']
    lines += [f'{name} = "{name}.parquet"' for name in ("items", "users") if name in tables]
    for name, kind in kinds.items() if "items" in tables else ():
        lines += ["", "[[features.item]]", f'name = "{name}"', f'kind = "{kind}"']
    with files.replacing(out, directory=True) as folder:
        for name, table in tables.items():
            table.write_parquet(folder / f"{name}.parquet")
        (folder / "config.toml").write_text("\n".join(lines) + "\n", "utf-8")
    return {name: table.height for name, table in tables.items()}
