"""Which items gain and lose, and the lists of a few users, against the answers in raw ids."""

import numpy as np
import pytest

from training.drift import lists
from training.drift.compare import compare_bundles
from training.drift.figures import ListedItem


def item(name, a, b):
    return ListedItem(item_id=name, title=name, a=a, b=b)


def test_movers_are_sorted_by_how_much_they_move():
    items = [item("x", 0.1, 0.4), item("y", 0.5, 0.1), item("z", 0.2, 0.2), item("w", 0.0, 0.1), item("v", 0.1, 0.0)]
    assert [mover.item_id for mover in lists.gains(items)] == ["x", "w"]
    assert [mover.item_id for mover in lists.losses(items)] == ["y", "v"]
    assert len(lists.gains([item(str(number), 0.0, number / 10) for number in range(1, 9)])) == lists.NUM_MOVERS


def test_an_item_that_only_a_knows_loses(model, bundle, smaller, histories):
    figures = compare_bundles(model, smaller, histories)
    gone = {*bundle.encoder.item_ids} - {*smaller.bundle.encoder.item_ids}
    answers = model.recommend(histories["history"], user_ids=histories["user_id"], k=10).item_ids.to_list()
    lost = [loss for loss in figures.losses if loss.item_id in gone]
    assert lost
    for loss in lost:
        assert loss.a == pytest.approx(np.mean([loss.item_id in row for row in answers]))
        assert loss.b == 0
    back = compare_bundles(smaller, model, histories)
    assert {gain.item_id for gain in back.gains} == {loss.item_id for loss in figures.losses}


def test_the_lists_of_a_few_users_are_their_answers(model, shuffled, histories):
    figures = compare_bundles(model, shuffled, histories)
    assert len(figures.examples) == 3
    common = [user.common for user in figures.examples]
    assert common == sorted(common)
    assert (common[0], common[-1]) == (
        min(np.flatnonzero(figures.users_by_common)), max(np.flatnonzero(figures.users_by_common)),
    )  # fmt: skip
    for user in figures.examples:
        row = histories["user_id"].to_list().index(user.user_id)
        for retriever, shown in ((model, user.a), (shuffled, user.b)):
            answer = retriever.recommend(histories["history"][row : row + 1], user_ids=[user.user_id], k=10)
            assert [shown_item.item_id for shown_item in shown] == answer.item_ids[0].to_list()
            assert [shown_item.title for shown_item in shown] == retriever.titles_of(answer.item_ids[0]).to_list()
        assert len({*user.a} & {*user.b}) == user.common
