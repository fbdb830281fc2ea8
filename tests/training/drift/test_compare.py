"""The drift watch reports what was planted: nothing, other answers, a rotated space, a hub, another catalogue."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.rankers.two_tower_ranker import TwoTowerRanker
from recsys.retriever import Retriever
from recsys.search.index import ItemIndex
from training.drift import compare
from training.drift.compare import compare_bundles
from training.drift.figures import CatalogueSizes, NeighbourOverlap, UserCounts
from training.drift.page import lines, verdict


class Moved(TwoTowerRanker):
    """The same answers from another space: users and items times the same matrix."""

    def __init__(self, original, matrix_DE):
        moved = np.ascontiguousarray(original.bundle.item_vectors @ matrix_DE, np.float32)
        super().__init__(with_vectors(original.bundle, moved))
        self.original, self.matrix_DE = original, matrix_DE

    @staticmethod
    def retriever(original, matrix_DE):
        ranker = Moved(original, matrix_DE)
        moved = Retriever(ranker._bundle, "moved")
        moved._catalogue.model = ranker
        return moved

    def encode(self, history, user_rows, updates=()):
        return (self.original.encode(history, user_rows) @ self.matrix_DE).astype(np.float32)


def with_vectors(bundle, vectors):
    return replace(bundle, item_vectors=vectors, index=ItemIndex.build(vectors, kind="exact"))


def without_last(bundle, count):
    """The bundle with a smaller catalogue: the last items are gone."""
    smaller = replace(
        bundle,
        encoder=replace(bundle.encoder, item_ids=bundle.encoder.item_ids[:-count]),
        items=bundle.items[:-count],
        item_features=bundle.item_features[:-count],
        item_counts=bundle.item_counts[:-count],
    )
    return Retriever(with_vectors(smaller, bundle.item_vectors[:-count].copy()), "smaller")


def test_a_bundle_and_itself_differ_in_nothing(model, histories):
    figures = compare_bundles(model, model, histories)
    assert (figures.overlap, figures.overlap_deep, figures.same_first, figures.mixed) == (1, 1, 1, 1)
    assert figures.neighbours == NeighbourOverlap(k=10, overlap=1)
    assert figures.users_by_common == (0,) * 10 + (histories.height,)
    assert figures.sides.a == figures.sides.b
    assert (figures.hubs, figures.new_items) == ((), 0)


def test_the_figures_are_those_of_the_answers_in_raw_ids(model, shuffled, histories):
    figures = compare_bundles(model, shuffled, histories)
    answers = [
        retriever.recommend(histories["history"], user_ids=histories["user_id"], k=10)
        for retriever in (model, shuffled)
    ]
    old, new = (answer.item_ids.to_list() for answer in answers)
    assert figures.overlap == pytest.approx(np.mean([len({*a} & {*b}) / 10 for a, b in zip(old, new, strict=True)]))
    assert figures.same_first == np.mean([a[0] == b[0] for a, b in zip(old, new, strict=True)])
    assert figures.sides.b.coverage == len({item for row in new for item in row}) / 200
    scores = np.array(answers[1].scores.to_list())
    assert figures.sides.b.score.all.model_dump() == pytest.approx({"mean": scores.mean(), "std": scores.std()})
    assert figures.sides.b.score.first.mean == pytest.approx(scores[:, 0].mean())
    shares = {item.item_id: item.b for item in figures.items}
    assert shares[new[0][0]] == pytest.approx(np.mean([new[0][0] in row for row in new]))


def test_shuffled_items_are_a_large_change(model, shuffled, histories):
    figures = compare_bundles(model, shuffled, histories)
    assert figures.overlap < 0.3
    assert figures.neighbours.overlap < 0.15  # by chance 10 of 199
    assert figures.mixed < 0.3
    assert verdict(figures).level == "large"


def test_a_rotated_space_answers_alike_but_must_not_be_mixed(model, histories):
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(32, 32)))
    figures = compare_bundles(model, Moved.retriever(model, rotation), histories)
    assert figures.overlap > 0.99
    assert figures.neighbours.overlap > 0.99
    assert verdict(figures).level in ("identical", "small")  # rounding may swap near ties
    assert figures.mixed < 0.3
    assert lines(figures)[-1].endswith("must never be mixed.")


def test_vectors_of_another_length_are_not_mixed(model, histories):
    figures = compare_bundles(model, Moved.retriever(model, np.eye(32, 40)), histories)
    assert figures.overlap > 0.99
    assert figures.mixed is None
    assert lines(figures)[-1].startswith("The vectors of A and B differ in length")


def test_a_planted_hub_is_found_and_named(model, crowded, histories):
    hub, item_id = crowded
    figures = compare_bundles(model, hub, histories)
    assert figures.hubs[0] == figures.items[0]
    assert figures.hubs[0].item_id == item_id
    assert figures.hubs[0].a < 0.05 < 0.5 < figures.hubs[0].b
    judged = verdict(figures)
    assert judged.level in ("moderate", "large")
    assert re.search(
        rf"\. “{re.escape(figures.hubs[0].title)}” \({item_id}\) is in \d+% of B's lists, in \d% of A's\.$",
        judged.sentence,
    )
    assert compare_bundles(hub, model, histories).hubs == ()  # what leaves is no new hub


def test_catalogues_of_different_sizes(bundle, model, histories):
    smaller = without_last(bundle, 60)
    figures = compare_bundles(smaller, model, histories)
    assert figures.catalogue == CatalogueSizes(a=140, b=200, both=140)
    answers = model.recommend(histories["history"], user_ids=histories["user_id"], k=10).item_ids
    known = {*smaller.bundle.encoder.item_ids}
    new = [item not in known for row in answers for item in row]
    assert figures.new_items == pytest.approx(np.mean(new))
    assert verdict(figures).sentence.endswith(
        f" {np.mean(new):.0%} of what B recommends are items that A does not know."
    )
    back = compare_bundles(model, smaller, histories)
    assert back.catalogue == CatalogueSizes(a=200, b=140, both=140)
    assert (back.new_items, back.overlap) == (0, pytest.approx(figures.overlap))
    tiny = without_last(bundle, 192)
    assert compare_bundles(tiny, model, histories).k == 8


def test_a_sample_stands_for_many(model, shuffled, histories, monkeypatch):
    monkeypatch.setattr(compare, "MAX_USERS", 50)
    figures = compare_bundles(model, shuffled, histories)
    assert figures.users == UserCounts(given=300, compared=50)
    assert figures == compare_bundles(model, shuffled, histories)
    assert "50 of 300 users compared, few: read with care." in lines(figures)[1]


def test_what_cannot_be_compared_is_one_clear_error(bundle, model, histories):
    strangers = pl.DataFrame({"user_id": ["x"], "history": [["nothing"]]})
    with pytest.raises(ValueError, match="none of 1 users has an item that both bundles know; give histories"):
        compare_bundles(model, model, strangers)
    renamed = replace(bundle, encoder=replace(bundle.encoder, item_ids="other " + bundle.encoder.item_ids))
    with pytest.raises(ValueError, match="0 of A's 200 items are in B, expected 2 or more; compare like with like"):
        compare_bundles(model, Retriever(renamed, "renamed"), histories)
    numbered = replace(bundle, encoder=replace(bundle.encoder, item_ids=pl.Series(range(200))))
    with pytest.raises(ValueError, match="item_id is String in bundle A but Int64 in bundle B"):
        compare_bundles(model, Retriever(numbered, "numbered"), histories)


def test_histories_of_a_log_and_of_a_file(model, small_run, tmp_path):
    log = compare.read_histories(model, events=str(small_run.folder / "events.parquet"))
    expected = small_run.events.sort("timestamp").group_by("user_id").agg(history="item_id").sort("user_id")
    assert log.equals(expected)
    path = tmp_path / "queries.parquet"
    log.with_columns(more=1).write_parquet(path)
    assert compare.read_histories(model, queries=str(path)).equals(log)
    with pytest.raises(ValueError, match="give either --events"):
        compare.read_histories(model)
    with pytest.raises(ValueError, match="give either --events"):
        compare.read_histories(model, events=str(path), queries=str(path))
    log.with_columns(history=pl.lit("a")).write_parquet(path)
    with pytest.raises(ValueError, match="history is String; expected a list of item ids for each user"):
        compare.read_histories(model, queries=str(path))
