"""Passages that a search has found, with where they come from: what a prompt quotes."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from ..errors import InputError
from .results import Recommendations

COLUMNS = ("text", "title", "file", "first_line", "last_line")


@dataclass(frozen=True)
class Passage:
    """A piece of a document.

    Attributes:
        text: As it was searched, with its headings in front.
        source: The file and the lines, such as "docs/serving.md:12-34".
        heading: The headings that it stands under, the outermost first.
        score: How well it fits; comparable within one answer only.
        item_id: Its id in the catalogue.
    """

    text: str
    source: str
    heading: str
    score: float
    item_id: str


@dataclass(frozen=True)
class Passages:
    """The passages for a question, best first. reason: why there are fewer than were asked for; None if there are not.

    As text, they are numbered, each with its source, as a prompt quotes them.
    """

    passages: tuple[Passage, ...]
    reason: str | None

    def __len__(self) -> int:
        return len(self.passages)

    def __iter__(self) -> Iterator[Passage]:
        return iter(self.passages)

    def __getitem__(self, rank: int) -> Passage:
        return self.passages[rank]

    def __str__(self) -> str:
        quoted = [f"[{number}] {one.source}\n{one.text}" for number, one in enumerate(self.passages, start=1)]
        return "\n\n".join([*quoted, *([self.reason] if self.reason else [])])


def as_passages(answers: Recommendations, items: pl.DataFrame) -> Passages:
    """The first of these answers as passages. items: the raw metadata of the catalogue.

    Raises:
        InputError: The items are no passages.
    """
    absent = [name for name in COLUMNS if name not in items.columns]
    if absent:
        raise InputError(
            f"the items have no column {', '.join(absent)}; expected passages, as `recsys init DOCUMENTS --chunk` makes"
        )
    rows = answers.item_ids[0].alias("item_id").to_frame().join(items, on="item_id", how="left", maintain_order="left")
    passages = [
        Passage(
            row["text"], _source(row["file"], row["first_line"], row["last_line"]), row["title"], score, row["item_id"]
        )
        for row, score in zip(rows.iter_rows(named=True), answers.scores[0].to_list(), strict=True)
    ]
    return Passages(tuple(passages), answers.reasons[0])


def _source(file: str, first_line: int, last_line: int) -> str:
    return f"{file}:{first_line}-{last_line}"
