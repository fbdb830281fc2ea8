"""What the sections of the report are written from."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import polars as pl

from recsys.answers import item_titles
from recsys.config import Config
from recsys.data import Dataset
from recsys.retriever import ItemMap, Retriever

from ..description import TrainingDescription
from ..evaluation import FIGURES, MAP, EvaluationRecord, Sketch
from ..learning_curve import Progress
from ..recipe import Recipe


@dataclass(frozen=True)
class ReportInputs:
    """A finished training and its records.

    per_query: user_id and the headline metric of every method, None without an evaluation. item_map: None if it was
    left out. sketch: None where there is none, as in records of earlier releases. queries: the test queries (user_id,
    history, targets). titles: [num_items] the name of each item, in catalogue order. made_at: when the report is
    written, in UTC.
    """

    training: TrainingDescription
    progress: Progress
    retriever: Retriever
    evaluation: EvaluationRecord
    per_query: pl.DataFrame | None
    queries: pl.DataFrame
    item_map: ItemMap | None
    sketch: Sketch | None
    titles: pl.Series
    made_at: datetime

    @classmethod
    def read(
        cls, records: Path, training: TrainingDescription, retriever: Retriever, progress: Progress, made_at: datetime
    ) -> Self:
        """Read the records in the folder that ``publish.write_records`` wrote."""
        evaluation = EvaluationRecord.read(records)
        return cls(
            training=training,
            progress=progress,
            retriever=retriever,
            evaluation=evaluation,
            per_query=None if FIGURES in evaluation.left_out else pl.read_parquet(records / "per_query.parquet"),
            queries=pl.read_parquet(records / "queries_test.parquet"),
            item_map=None if MAP in evaluation.left_out else ItemMap.read(records),
            sketch=Sketch.read(records) if (records / Sketch.FILE).is_file() else None,
            titles=item_labels(training.dataset.items(), training.config.data.title),
            made_at=made_at,
        )

    @property
    def config(self) -> Config:
        """The configuration as it was written."""
        return self.training.config

    @property
    def dataset(self) -> Dataset:
        """What was trained on."""
        return self.training.dataset

    @property
    def recipe(self) -> Recipe:
        """The configuration with everything left open filled in."""
        return self.training.recipe

    @property
    def num_dimensions(self) -> int:
        """How many dimensions the items could use: those of a vector, or as many as there are items, if fewer."""
        served = self.config.index.dimensions or self.recipe.model.width
        return min(served, self.dataset.encoder.num_items)


def item_labels(items: pl.DataFrame, column: str | None) -> pl.Series:
    """[num_items] the name of each item, in catalogue order: its title, or else its id.

    Args:
        items: The items with their metadata.
        column: The column of titles; None stands for "title", if there is one.
    """
    ids, titles = items.get_column("item_id").cast(pl.String), item_titles(items, column or "title")
    return ids.alias("title") if titles is None else titles.get_column("title").fill_null(ids)
