"""What is known about a bundle, outside its seal: figures, queries, scores, map and golden answers.

None of it is needed to serve. A part that cannot be made is left out, and the evaluation names it with the reason.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys import files
from recsys.bundle import Bundle
from recsys.retriever import GoldenAnswers, ItemMap, Retriever

from ..batches import make_loader
from ..checkpoints import Checkpoint
from ..description import TrainingDescription
from ..validation import validation_set
from .baselines import SEED
from .evaluate import HEADLINE, item_parts, per_query, rank_queries, summarise, user_vectors
from .evaluation_set import EvaluationSet
from .geometry import Geometry, map_2d, measure
from .left_out import LeftOut
from .record import (
    FIGURES,
    GEOMETRY,
    GOLDEN,
    MAP,
    PARTS,
    EvaluationFigures,
    EvaluationRecord,
    ItemParts,
)
from .sketch import Sketch

USER_SAMPLE = 2_000  # user vectors on which the space is measured
GOLDEN_QUERIES = 20  # whose answers are recorded


def write_records(
    folder: Path, retriever: Retriever, queries: pl.DataFrame, training: TrainingDescription, trained: Checkpoint | None
) -> None:
    """Write the records of a bundle, in place of any that are there.

    Args:
        folder: Where to.
        retriever: The bundle.
        queries: The test queries: user_id, history and targets.
        training: What was trained.
        trained: Its weights and learning curve; None for a baseline, which has no vectors to look at.
    """
    dataset, bundle, left_out = training.dataset, retriever.bundle, LeftOut()
    is_model = isinstance(bundle, Bundle)
    trained_on = replace(dataset, with_validation=training.recipe.refit)
    shutil.rmtree(folder, ignore_errors=True)  # a part that is left out must not be there from another training
    frames = {"trained": trained_on.trained(), "queries_test": queries}
    figures, geometry = without_figures(retriever, queries), None
    evaluated = left_out.attempt(FIGURES, lambda: rank_queries(retriever, queries, trained_on, left_out))
    if evaluated is not None:
        space = left_out.attempt(GEOMETRY, partial(measure_space, retriever, evaluated)) if is_model else None
        if space is not None:
            geometry, sketch = space
            sketch.write(folder)
        summary = left_out.attempt(FIGURES, partial(_summary, evaluated, retriever, training, left_out))
        if summary is not None:
            figures, frames["per_query"] = summary
    histories = queries.get_column("history").head(GOLDEN_QUERIES)
    made: dict[str, Callable[[], ItemMap | GoldenAnswers]] = {GOLDEN: partial(GoldenAnswers.of, retriever, histories)}
    if isinstance(bundle, Bundle):
        made[MAP] = partial(item_map, bundle.item_vectors)
    for part, make in made.items():
        record = left_out.attempt(part, make)
        if record is not None:
            record.write(folder)
    for name, frame in frames.items():
        with files.replacing(folder / f"{name}.parquet") as temporary:
            frame.write_parquet(temporary)
    files.write_json(folder / "config.json", training.config.model_dump(mode="json"))
    EvaluationRecord(
        **dict(figures),
        geometry=geometry,
        index=bundle.index.spec if isinstance(bundle, Bundle) else None,
        item_parts=left_out.attempt(PARTS, partial(parts_of_items, retriever, training)) if is_model else None,
        log=dataset.manifest.log,
        dataset=dataset.digest,
        best_epoch=trained.progress.best_epoch if trained is not None else 0,
        left_out=left_out.reasons,
    ).write(folder)


def _summary(
    evaluated: EvaluationSet, retriever: Retriever, training: TrainingDescription, left_out: LeftOut
) -> tuple[EvaluationFigures, pl.DataFrame]:
    return summarise(evaluated, retriever, training.dataset, left_out), per_query(evaluated)


def without_figures(retriever: Retriever, queries: pl.DataFrame) -> EvaluationFigures:
    """The figures of a bundle whose evaluation failed: none."""
    return EvaluationFigures(
        bundle_id=retriever.bundle_id, num_queries=queries.height, headline=HEADLINE,
        methods={}, differences={}, exposure={}, slices=(),
    )  # fmt: skip


def model_of(retriever: Retriever) -> Bundle:
    """The bundle of a retriever of a model, rather than of a baseline."""
    assert isinstance(retriever.bundle, Bundle)
    return retriever.bundle


def measure_space(retriever: Retriever, evaluated: EvaluationSet) -> tuple[Geometry, Sketch]:
    """Measure and sketch the space on a sample of the queries whose first target is in the catalogue."""
    users, targets = user_vectors(retriever, evaluated, USER_SAMPLE)
    known, bundle = targets > 0, model_of(retriever)
    return measure(bundle.item_vectors, users[known], targets[known], bundle.item_counts, seed=SEED)


def parts_of_items(retriever: Retriever, training: TrainingDescription) -> ItemParts | None:
    """What ids and metadata contribute, on the validation queries."""
    dataset, seed = training.dataset, training.config.training.seed
    queries = validation_set(dataset, seed=seed)
    return item_parts(model_of(retriever).model, make_loader(training), queries, dataset.encoder.num_items)


def item_map(item_vectors_ND: npt.NDArray[np.float32]) -> ItemMap:
    """The items on a plane, rounded to what a screen can show."""
    positions, xy = map_2d(item_vectors_ND, seed=SEED)
    return ItemMap(positions=positions.tolist(), xy=np.round(xy, 3).tolist())
