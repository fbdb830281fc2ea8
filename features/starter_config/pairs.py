"""A file of pairs of texts, such as questions and answers: which columns they are, and the tables that they make."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from .columns import Column, LookedAt
from .names import USER, likeness, words_of
from .roles import LIKELY

QUERY = (
    "anchor",
    "query",
    "queries",
    "question",
    "claim",
    "prompt",
    "search",
    "source",
    "premise",
    "frage",
    "sentence1",
)
DOCUMENT = (
    "positive", "document", "passage", "answer", "evidence", "response", "target", "context", "hypothesis", "antwort",
    "sentence2",
)  # fmt: skip
NEGATIVE = ("negative", "negatives")
DISTINCT = 0.5  # of the rows, which ids and categories of a log are far below
TEXT = "text"  # the column of both tables


@dataclass(frozen=True)
class Pairs:
    """A file whose rows are pairs of texts.

    query, document, negatives: its columns. reason: why they were taken.
    """

    file: LookedAt
    query: str
    document: str
    negatives: tuple[str, ...]
    reason: str

    def tables(self) -> dict[str, pl.DataFrame]:
        """events, items and users, as a configuration reads them: equal texts are one query, or one document."""
        names = (self.query, self.document, *self.negatives)
        rows = self.file.table.frame.select(
            cs.by_name(name).cast(pl.String).str.strip_chars().alias(f"column {number}")
            for number, name in enumerate(names)
        ).collect()
        query, document, *negatives = rows.get_columns()
        is_pair = (query.fill_null("") != "") & (document.fill_null("") != "")
        users = numbered(query.filter(is_pair), "user_id", "q")
        items = numbered(pl.concat([document, *negatives]), "item_id", "d")
        events = pl.DataFrame([
            ids_of(query.filter(is_pair), users), ids_of(document.filter(is_pair), items)
        ]).unique(maintain_order=True)  # fmt: skip
        return {"events": events, "items": items, "users": users}


def find_pairs(files: Sequence[LookedAt]) -> Pairs | None:
    """The pairs of a file of texts; None where it may be a log, whose ids repeat."""
    if len(files) != 1:
        return None
    (file,) = files
    texts = [column for column in file.columns.values() if _is_text(column)]
    negatives = tuple(column.name for column in texts if set(words_of(column.name)) & set(NEGATIVE))
    sides = [column for column in texts if column.name not in negatives]
    query, document = (_named(sides, vocabulary) for vocabulary in (QUERY, DOCUMENT))
    has_users = any(likeness(name, USER) >= LIKELY for name in file.columns)
    if query and document and query != document and not has_users:
        return Pairs(file, query, document, negatives, "by their names")
    others = [column for column in file.columns.values() if column not in texts]
    if len(sides) == 2 and not others and all(column.distinct >= DISTINCT * column.rows for column in sides):
        return Pairs(file, sides[0].name, sides[1].name, negatives, "the file has two columns of texts, in this order")
    return None


def _is_text(column: Column) -> bool:
    return (
        column.is_text and column.present > 0 and column.clock is None and not column.is_number
        and column.json_lists < column.present
    )  # fmt: skip


def _named(columns: Sequence[Column], vocabulary: tuple[str, ...]) -> str | None:
    """The only column whose name has a word of a vocabulary, and no word of an id."""
    names = [
        column.name
        for column in columns
        if set(words_of(column.name)) & set(vocabulary) and words_of(column.name)[-1] not in ("id", "key", "code")
    ]
    return names[0] if len(names) == 1 else None


def numbered(texts: pl.Series, name: str, letter: str) -> pl.DataFrame:
    """The distinct texts in the order of the file, with ids such as q000001."""
    distinct = texts.filter(texts.fill_null("") != "").unique(maintain_order=True)
    width = max(6, len(str(len(distinct))))
    ids = pl.Series(name, [f"{letter}{number:0{width}}" for number in range(1, len(distinct) + 1)], dtype=pl.String)
    return pl.DataFrame([ids, distinct.alias(TEXT)])


def ids_of(texts: pl.Series, table: pl.DataFrame) -> pl.Series:
    """The ids of texts in a table that ``numbered`` made."""
    joined = texts.alias(TEXT).to_frame().join(table, on=TEXT, how="left", maintain_order="left")
    return joined.to_series(1)
