"""Queries of every kind in one batch are answered as each would be alone."""

import numpy as np
import polars as pl
import pytest

from recsys.answers import FALLBACK
from recsys.errors import InputError
from recsys.retriever import Query, Retriever
from recsys.retriever.query import by_options


@pytest.fixture
def mixed(histories, items):
    """Queries of every kind, and the arguments of ``recommend`` that ask the same."""
    rng, ids = np.random.default_rng(7), items["item_id"].to_list()
    queries, arguments = [], []
    for number in range(60):
        user_id, history = histories.row(int(rng.integers(0, len(histories))))
        options = [{}, {"k": 3}, {"k": 25, "exclude_seen": False}, {"exclude": ids[:50]}, {"only": ids[20:90]},
                   {"where": [("year", ">=", 1950)]}, {"where": [["year", "<", 1950]], "k": 4}][number % 7]  # fmt: skip
        kind = int(rng.integers(0, 6))
        who, asked = [
            ({"user_id": user_id}, {"user_ids": [user_id]}),
            ({"history": history}, {"histories": [history]}),
            ({"history": history, "user_id": user_id}, {"histories": [history], "user_ids": [user_id]}),
            ({"history": []}, {"histories": [[]]}),
            ({"user_id": user_id, "recent": ids[3:5]}, {"user_ids": [user_id], "recent": [ids[3:5]]}),
            ({"recent": ids[7:9]}, {"histories": [ids[7:9]]}),
        ][kind]  # fmt: skip
        queries.append(Query(**who, **options))
        arguments.append(asked | options)
    return queries, arguments


def test_a_mixed_batch_gets_what_each_query_gets_alone(retriever, mixed):
    """To the last bit, reasons too; in any order."""
    queries, arguments = mixed
    batch = retriever.answer(queries)
    order = np.random.default_rng(0).permutation(len(queries))
    shuffled = retriever.answer([queries[row] for row in order])
    for row, asked in enumerate(arguments):
        expected = retriever.recommend(**asked)
        place = int(np.flatnonzero(order == row)[0])
        for answers, at in ((batch, row), (shuffled, place), (retriever.answer([queries[row]]), 0)):
            assert answers.item_ids[at].equals(expected.item_ids[0])
            assert answers.scores[at].equals(expected.scores[0])
            assert answers.reasons[at] == expected.reasons[0]
    assert batch.bundle_id == retriever.bundle_id
    assert len(retriever.answer([])) == 0


def test_recent_items_are_the_end_of_the_history(retriever, histories, items):
    user_id, history = histories.row(3)
    recent = ["unknown", *items["item_id"].to_list()[60:63]]
    expected = retriever.recommend([history + recent], user_ids=[user_id], k=9)
    answers = [
        retriever.recommend(user_ids=[user_id], recent=[recent], k=9),
        retriever.recommend([history], user_ids=[user_id], recent=[recent], k=9),
        retriever.answer([Query(user_id=user_id, recent=recent, k=9)]),
        retriever.answer([Query(history=history[:2], recent=history[2:] + recent, user_id=user_id, k=9)]),
    ]
    for answer in answers:
        assert answer.item_ids.equals(expected.item_ids)
        assert answer.scores.equals(expected.scores)
    assert not set(expected.item_ids[0]) & set(recent)
    stranger = retriever.recommend(user_ids=["nobody"], recent=[recent[1:]], k=9)
    assert stranger.item_ids.equals(retriever.recommend([recent[1:]], k=9).item_ids)
    assert retriever.recommend(recent=[recent], k=9).item_ids.equals(stranger.item_ids)
    with pytest.raises(InputError, match="2 lists in recent but 1 users"):
        retriever.recommend(user_ids=[user_id], recent=[recent, []])


def test_only_what_is_listed_is_recommended(retriever, histories, items):
    listed = items["item_id"].to_list()[10:30]
    answers = retriever.recommend([histories["item_id"][0], []], only=[*listed, "unknown", None], k=50)
    assert set(answers.item_ids[0]) == set(listed) - set(histories["item_id"][0])
    assert set(answers.item_ids[1]) == set(listed)
    assert answers.reasons[1] == f"{FALLBACK}; short: only 20 eligible items"
    assert len(retriever.recommend([[]], only=[]).item_ids[0]) == 0


BAD = [
    (Query(), "nobody to recommend to"),
    (Query(history="i00001"), "a history is 'i00001'"),
    (Query(history=[1]), "expected lists of String item ids"),
    (Query(history=[], recent=5), "a history is 5"),
    (Query(user_id=7), "user ids are .7.; expected String"),
    (Query(history=[], k=0), "k is 0; expected a whole number"),
    (Query(history=[], exclude_seen="no"), "exclude_seen is 'no'; expected true or false"),
    (Query(history=[], exclude=[1]), "item ids are Int64"),
    (Query(history=[], only="i00001"), "item ids are 'i00001'; expected a list"),
    (Query(history=[], where=[("colour", "==", 1)]), "where: no column 'colour'"),
    (Query(history=[], where=[("year", ">=", "x")]), "where: year >= 'x' does not fit"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_a_bad_query_is_named_by_its_number(retriever, bad, message):
    good = Query(history=["i00001"])
    with pytest.raises(InputError, match=f"^query 2: .*{message}") as refused:
        retriever.answer([good, good, bad, good])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("queries", [None, 5, [None], ["i00001"], [{"history": []}], Query(history=[])], ids=repr)
def test_what_is_no_query_is_refused(retriever, queries):
    with pytest.raises(InputError, match="expected a list of Query"):
        retriever.answer(queries)


def test_a_user_without_a_log_is_refused_alone(small_run):
    stranger = Retriever.load(small_run.run / "bundle")
    with pytest.raises(InputError, match=r"query 1: users are known by id only after"):
        stranger.answer([Query(history=["i00001"], user_id="u00001"), Query(user_id="u00001")])


def test_equal_options_are_searched_for_together():
    wheres = [[("year", "==", value)] for value in (1, 1, True, 1.0)]
    queries = [Query(history=[number], where=where) for number, where in enumerate(wheres)]
    queries += [Query(exclude=pl.Series(["a"])), Query(exclude=pl.Series(["a"])), Query(exclude=pl.Series(["b"]))]
    queries += [Query(where=(one for one in [])), Query(where=(one for one in [])), Query(k=11), Query(user_id=3, k=11)]
    assert [rows.tolist() for _, rows in by_options(queries)] == [[0, 1], [2], [3], [4, 5], [6], [7], [8], [9, 10]]
