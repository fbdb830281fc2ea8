"""Which baseline serves if none of the models does."""

from pathlib import Path

import numpy as np

from recsys.bundle import load_bundle
from recsys.retriever import Retriever

from .description import TrainingDescription
from .evaluation import BASELINES, SEED, per_query, rank_queries
from .validation import sampled

MAX_QUERIES = 2_000


def best_baseline(run: Path) -> str:
    """The name of the baseline with the best NDCG@10 on the validation queries of a published run.

    At most MAX_QUERIES of them are asked. The test queries are left for the gate. Of equals, the simplest is taken:
    popularity, then item-kNN, then EASE.
    """
    dataset = TrainingDescription.read(run).dataset
    rows = sampled(np.arange(dataset.num_queries("validation")), MAX_QUERIES, seed=SEED)
    if not len(rows):
        return BASELINES[0].name
    queries = dataset.queries("validation", rows)
    scores = per_query(rank_queries(Retriever(*load_bundle(run / "bundle")), queries, dataset))
    means = scores.mean().row(0, named=True)
    names = [baseline.name for baseline in BASELINES if baseline.fit is not None and baseline.name in means]
    return max(names, key=means.__getitem__)
