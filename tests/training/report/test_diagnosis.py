from types import SimpleNamespace

import pytest

from recsys.metrics import Interval
from training.evaluation.record import ItemParts, SliceFigures
from training.learning_curve import Progress
from training.report.diagnosis import diagnose

PARTS = ItemParts(both=0.2, ids=0.1, metadata=0.05)


def told(
    differences=None, slices=(), scores=(0.1, 0.2, 0.2), epochs=100, parts=PARTS, rank=40.0, hubness=1.0, coverage=0.2
):
    """The findings by question, from figures that are good unless given."""
    intervals = (differences or {"item_knn": (0.01, 0.005, 0.02)}).items()
    evaluation = SimpleNamespace(
        headline="ndcg@10", num_queries=500, slices=slices,
        differences={name: Interval(*interval) for name, interval in intervals}, item_parts=parts,
        geometry=SimpleNamespace(effective_rank=rank, hubness=hubness),
        exposure={"model": SimpleNamespace(coverage_at_10=coverage)},
    )  # fmt: skip
    progress = Progress()
    for score in scores:
        progress = progress.after(loss=1.0, score=score, seconds=1.0, tokens=1)
    recipe = SimpleNamespace(epochs=epochs, model=SimpleNamespace(width=64, dropout=0.3))
    return {each.question: each for each in diagnose(evaluation, progress, recipe)}


def one_slice(model, rival, *, name="tail items", num_queries=200):
    figures = {"model": model, "item_knn": rival}
    methods = {method: Interval(mean, mean - 0.01, mean + 0.01) for method, mean in figures.items()}
    return SliceFigures(name=name, num_queries=num_queries, methods=methods)


def test_a_good_model_has_nothing_to_try():
    found = told()
    assert [each.tone for each in found.values()] == ["good"] * 5
    assert not any(each.remedy for each in found.values())
    assert found["Is it better than item-kNN?"].answer == "Yes: NDCG@10 +0.0100 [+0.0050, +0.0200]."


@pytest.mark.parametrize(
    ("difference", "tone", "word"), [((0.01, -0.01, 0.03), "unclear", "Perhaps"), ((-0.02, -0.03, -0.01), "bad", "No")]
)
def test_a_baseline_that_is_not_beaten(difference, tone, word):
    found = told({"ease": difference})["Is it better than EASE?"]
    assert (found.tone, found.answer.split(":")[0]) == (tone, word)
    assert "EASE" in found.remedy


def test_slices_that_are_behind():
    question = "Is it ahead everywhere?"
    behind = told(slices=[one_slice(0.1, 0.15), one_slice(0.2, 0.1, name="head")])[question]
    assert behind.tone == "bad"
    assert behind.answer == "Behind on tail items: 0.1000, item-kNN 0.1500."
    assert "[[features.item]]" in behind.remedy
    assert told(slices=[one_slice(0.1, 0.105)])[question].tone == "unclear"  # the intervals overlap
    assert told(slices=[one_slice(0.1, 0.15, num_queries=99)])[question].tone == "good"  # too few to say
    assert "[[features.user]]" in told(slices=[one_slice(0.1, 0.15, name="new users")])[question].remedy


@pytest.mark.parametrize(
    ("scores", "epochs", "tone", "words"),
    [
        ((0.1, 0.2, 0.3), 3, "unclear", "training.epochs=6"),
        ((0.1, 0.3, 0.301), 3, "good", ""),  # rising, but hardly
        ((0.1, 0.2, 0.3), 4, "good", ""),  # killed and not resumed is not for the report to judge
        ((0.1, 0.3, 0.2), 100, "unclear", "model.dropout=0.5"),
        ((0.1, 0.3, 0.295), 100, "good", ""),
        ((0.1,), 1, "unclear", "training.epochs=2"),
    ],
)
def test_under_and_over_trained(scores, epochs, tone, words):
    found = told(scores=scores, epochs=epochs)["Was it trained long enough, and not too long?"]
    assert found.tone == tone
    assert words in found.remedy


@pytest.mark.parametrize(
    ("parts", "tone", "words"),
    [(None, "unclear", "None is read"), (ItemParts(both=0.1, ids=0.1, metadata=0.01), "unclear", "Hardly")],
)
def test_metadata_that_adds_little(parts, tone, words):
    found = told(parts=parts)["Does the items' metadata help?"]
    assert (found.tone, words in found.answer) == (tone, True)
    assert "features.item" in found.remedy


def test_a_space_with_a_fault():
    collapsed, hubs = told(rank=15)["Is the space healthy?"], told(hubness=3.1)["Is the space healthy?"]
    assert (collapsed.tone, hubs.tone) == ("bad", "unclear")
    assert told(hubness=3.1, coverage=0.4)["Is the space healthy?"].tone == "good"  # everything is shown to someone
    assert "num_negatives" in collapsed.remedy
    assert "popularity_exponent" in hubs.remedy
