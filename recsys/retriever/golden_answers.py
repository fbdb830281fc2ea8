"""Answers that were recorded when a bundle was published, and that it must give again wherever it serves."""

from typing import ClassVar

import polars as pl

from ..record import Record
from .retriever import Retriever

GOLDEN_K = 10  # items that are recorded of each answer


class GoldenAnswers(Record):
    """A bundle's answers to a few histories, in raw ids: another release must give the same ones."""

    FILE: ClassVar[str] = "golden.json"

    bundle_id: str
    history: list[list[int | str]]
    item_ids: list[list[int | str]]
    scores: list[list[float]]

    @staticmethod
    def of(retriever: Retriever, histories: pl.Series) -> "GoldenAnswers":
        """The best items of a bundle for some histories."""
        answers = retriever.limited(clock=None).recommend(histories, k=GOLDEN_K)
        return GoldenAnswers(
            bundle_id=retriever.bundle_id,
            history=histories.to_list(),
            item_ids=answers.item_ids.to_list(),
            scores=answers.scores.to_list(),
        )

    def num_repeated(self, retriever: Retriever) -> int:
        """How many of the recorded answers a retriever gives again, item by item."""
        if not self.history:
            return 0
        answers = retriever.limited(clock=None).recommend(self.history, k=GOLDEN_K).item_ids.to_list()
        return sum(now == recorded for now, recorded in zip(answers, self.item_ids, strict=True))
