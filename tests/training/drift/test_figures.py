import json

from training.drift.compare import compare_bundles
from training.drift.figures import DriftFigures


def test_the_figures_keep_their_names_in_json(model, shuffled, histories):
    figures = compare_bundles(model, shuffled, histories)
    tree = json.loads(figures.model_dump_json())
    assert [*tree] == [
        "a", "b", "k", "deep", "users", "catalogue", "overlap", "overlap_deep", "same_first", "users_by_common",
        "neighbours", "mixed", "new_items", "sides", "items", "hubs", "gains", "losses", "examples", "same_lists",
    ]  # fmt: skip
    assert [*tree["catalogue"]] == ["A", "B", "both"]
    assert [*tree["sides"]["B"]] == ["coverage", "gini", "novelty", "popular", "score"]
    assert [*tree["items"][0]] == ["item_id", "title", "A", "B"]
    assert DriftFigures.model_validate(tree) == figures
