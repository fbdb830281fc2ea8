"""Amazon reviews and metadata of 2014 and 2023, as JSON lines."""

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

from recsys.data import input_error_if_unreadable
from recsys.errors import InputError

from .download import REMEDY, Download

EVENTS = pl.Schema({"user_id": pl.String, "item_id": pl.String, "rating": pl.Float32, "timestamp": pl.Int64})
ITEMS = pl.Schema({
    "item_id": pl.String(), "title": pl.String(), "brand": pl.String(), "categories": pl.List(pl.String()),
    "price": pl.Float64(),
})  # fmt: skip


def read_amazon(paths: Sequence[Path]) -> Download:
    """Read files of reviews and, optionally, of metadata.

    Args:
        paths: JSON lines, gzipped or not, in any order: the first line of each says what it holds.

    Raises:
        InputError: A file cannot be read, or none holds reviews.
    """
    events, items = [], []
    for path in paths:
        records = _read_json_lines(path)
        first = next(records, None)
        if first is None:
            raise InputError(f"{path} is empty; expected JSON lines of reviews or of metadata")
        records = itertools.chain([first], records)
        with input_error_if_unreadable(f"the download at {path}", REMEDY):
            if "reviewerID" in first or {"user_id", "rating"} <= first.keys():
                events.append(pl.DataFrame(map(_event, records), EVENTS, orient="row"))
            elif {"asin", "parent_asin"} & first.keys():
                items.append(pl.DataFrame(map(_item, records), ITEMS, orient="row"))
            else:
                raise InputError(
                    f"{path} has {', '.join(first)}; expected reviews (reviewerID or user_id) or metadata (asin)"
                )
    if not events:
        raise InputError("no file holds reviews; expected at least one, beside any metadata")
    return Download(
        events=pl.concat(events),
        items=pl.concat(items).unique("item_id", keep="first", maintain_order=True) if items else None,
    )


def _event(review: Mapping[str, Any]) -> tuple[Any, ...]:
    """2014: reviewerID, asin, overall, unixReviewTime (s). 2023: user_id, parent_asin, rating, timestamp (ms)."""
    if "reviewerID" in review:
        return review["reviewerID"], review.get("asin"), review.get("overall"), review.get("unixReviewTime")
    item_id = review.get("parent_asin") or review.get("asin")
    return review.get("user_id"), item_id, review.get("rating"), review.get("timestamp")


def _item(product: Mapping[str, Any]) -> tuple[Any, ...]:
    """2014: asin, brand, categories (lists of lists). 2023: parent_asin, store, categories (one list)."""
    categories = product.get("categories") or []
    flat = [name for part in categories for name in (part if isinstance(part, list) else [part])]
    item_id = product.get("parent_asin") or product.get("asin")
    brand = product.get("brand") or product.get("store")
    return item_id, product.get("title"), brand, list(dict.fromkeys(flat)), _price(product.get("price"))


def _price(value: object) -> float | None:
    """A number, or text such as "$1,234.50"; anything else, such as "from 12.99 to 20", is no price."""
    try:
        return float(str(value).replace("$", "").replace(",", ""))
    except ValueError:
        return None


def _read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file of JSON lines, or of Python literals, as the metadata of 2014 are."""
    if not path.is_file():
        raise InputError(f"no file at {path}; expected JSON lines, gzipped or not")
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                record = _parse(line)
                if not isinstance(record, dict):
                    raise InputError(f"{path}, line {number}: expected one JSON record a line")
                yield record
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise InputError(f"{path} is damaged after line {number} ({error}); {REMEDY}") from error


def _parse(line: str) -> object:
    """The JSON value or Python literal of a line; None if it is neither."""
    with suppress(ValueError):
        return json.loads(line)
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(line)
    return None
