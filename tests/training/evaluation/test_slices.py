"""Slices cover the queries, and judge a model by the targets in them alone."""

import numpy as np
import polars as pl

from recsys.data.jagged import Jagged
from training.evaluation.evaluate import rank_queries
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.slices import Slice, slices_of


def sizes(evaluated, retriever, trained_users):
    slices = slices_of(evaluated, retriever.bundle, trained_users)
    return {part.name.split(" (")[0]: part.num_queries(evaluated) for part in slices}


def test_slices_divide_the_queries(small_run, retriever):
    evaluated = rank_queries(retriever, small_run.dataset.queries("test"), None)
    found = sizes(evaluated, retriever, small_run.dataset.train()[0])
    items = [name for name in found if "items" in name]
    assert {"head items", "torso items", "tail items"} <= set(items)
    assert sum(found[name] for name in items) == 300  # one target each
    lengths = evaluated.history.lengths
    assert found["short histories"] == (lengths <= np.quantile(lengths, 1 / 3)).sum()
    assert found["long histories"] == (lengths > np.quantile(lengths, 2 / 3)).sum()
    assert "new users" not in found


def test_a_user_without_training_events_is_new(small_run, retriever):
    queries = small_run.dataset.queries("test")
    strangers = queries.head(5).with_columns(user_id="x" + pl.col("user_id"))
    evaluated = rank_queries(retriever, pl.concat([queries, strangers]), None)
    assert sizes(evaluated, retriever, small_run.dataset.train()[0])["new users"] == 5
    assert "new users" not in sizes(evaluated, retriever, None)


def test_only_targets_in_the_slice_count():
    """Of two targets the model finds the second one; a query without a target in the slice is not in it."""
    evaluated = EvaluationSet(
        pl.Series("user_id", ["a", "b"]), Jagged.from_rows([[1], [1]]), Jagged.from_rows([[2, 3], [2]]),
        {"model": np.array([[4, 3, 5] + [0] * 7, [2] + [0] * 9], np.int32)},
    )  # fmt: skip
    everybody = np.array([True, True])
    second = Slice("second", everybody, np.array([False, True, False]))
    assert second.num_queries(evaluated) == 1
    np.testing.assert_allclose(second.values(evaluated, "model"), [1 / np.log2(3)])
    both = Slice("all", everybody, np.array([True, True, True]))
    ideal = 1 + 1 / np.log2(3)
    np.testing.assert_allclose(both.values(evaluated, "model"), [1 / np.log2(3) / ideal, 1.0])
    nobody = Slice("none", ~everybody, np.array([True, True, True]))
    assert nobody.num_queries(evaluated) == 0
