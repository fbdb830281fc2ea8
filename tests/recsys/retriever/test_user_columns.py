"""Columns of the user in a request count as the same columns in the metadata would."""

import polars as pl
import pytest

from recsys.answers import FALLBACK
from recsys.errors import InputError
from recsys.retriever import Query, Retriever


def test_columns_replace_what_is_known_of_a_user(small_run, retriever, histories):
    """To the bits of answers from metadata that holds the same."""
    user_ids = histories["user_id"].head(6).to_list()
    ages = [11, None, 79, 40.5, 10**6, 11]
    table = pl.DataFrame({"user_id": user_ids, "age": ages}, strict=False)
    newer = Retriever.load(
        small_run.run / "bundle", events=small_run.folder / "events.parquet", users=table.drop_nulls()
    )
    expected = newer.recommend(user_ids=user_ids, k=9)
    queries = [Query(user_id=user, user={"age": age}, k=9) for user, age in zip(user_ids, ages, strict=True)]
    by_column = retriever.recommend(user_ids=user_ids, users=table.select("age"), k=9)
    batch = retriever.answer(queries)
    for row, query in enumerate(queries):
        for answers, at in ((by_column, row), (batch, row), (retriever.answer([query]), 0)):
            assert answers.item_ids[at].equals(expected.item_ids[row])
            assert answers.scores[at].equals(expected.scores[row])
    plain = retriever.recommend(user_ids=user_ids, k=9)
    differs = [not plain.scores[row].equals(batch.scores[row]) for row in range(6)]
    assert differs == [True, False, True, True, True, True]
    assert retriever.answer([Query(user_id=user_ids[0], user={}, k=9)]).scores[0].equals(plain.scores[0])


def test_a_stranger_with_columns_is_served_with_them_and_falls_back_without_any(retriever, histories):
    history = histories["item_id"][0].to_list()
    young, old, anonymous = (
        retriever.answer([Query(history=history, user=user)]) for user in ({"age": 10}, {"age": 80}, None)
    )
    assert not young.scores[0].equals(old.scores[0])
    assert not young.scores[0].equals(anonymous.scores[0])
    young, old, unknown = (retriever.answer([Query(user={"age": age})]) for age in (10, 80, float("nan")))
    assert not young.scores[0].equals(old.scores[0])  # without a history, columns alone
    assert [answer.reasons.to_list() for answer in (young, old, unknown)] == [[None], [None], [FALLBACK]]
    both = retriever.recommend(users=pl.DataFrame({"age": [10, 80]}))
    assert both.scores[0].equals(young.scores[0])
    assert both.scores[1].equals(old.scores[0])


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"height": 3}, "user: no column 'height'; the model reads age"),
        ({5: 3}, "user: no column 5; the model reads age"),
        ({"own_id": ["u"]}, "no column 'own_id'"),
        ({"age": "34"}, "age is '34', a value of type String; expected numbers"),
        ({"age": True}, "age is True, a value of type Boolean; expected numbers"),
        ({"age": [1, "a"]}, "user: age is .*; expected values of one type"),
        ({"age": [1, 2]}, r"age is .*, a value of type List\(Int64\); expected numbers"),
        ({"age": {"a": 1}}, "age is .*; expected numbers"),
        ({"age": object()}, "age is .*expected numbers"),
        ({"age": 10**60}, "age is .*"),
        ("age", "user is 'age'; expected columns and values"),
        ([("age", 3)], "expected columns and values"),
    ],
)  # fmt: skip
def test_a_bad_column_is_one_line_of_its_query(retriever, user, message):
    bad = Query(history=["i00001"], user=user)
    with pytest.raises(InputError, match=message) as refused:
        retriever.answer([bad])
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=f"^query 1: .*{message}"):
        retriever.answer([Query(history=["i00001"], user={"age": 3}), bad])


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (pl.DataFrame({"age": [1]}), "1 rows in users but 2 users; expected one row a user"),
        (pl.DataFrame({"user_id": ["a", "b"]}), "user: no column 'user_id'; the model reads age"),
        (pl.DataFrame({"age": ["1", "2"]}), "age is '1', a value of type String; expected numbers"),
        ("users.parquet", "users are 'users.parquet'; expected a table in memory"),
        ([{"age": 1}, {"age": 2}], "users are a list"),
    ],
)  # fmt: skip
def test_a_bad_table_is_one_line(retriever, users, message):
    with pytest.raises(InputError, match=message) as refused:
        retriever.recommend([["i00001"], []], users=users)
    assert "\n" not in str(refused.value)


def test_a_model_without_user_features_says_so(integer_bundle):
    with pytest.raises(InputError, match="user: no column 'age'; the model reads no columns of users"):
        Retriever.load(integer_bundle).answer([Query(history=[1], user={"age": 3})])


def test_a_baseline_takes_the_columns_of_the_encoder(baseline_bundles):
    ease = Retriever.load(baseline_bundles["ease"])
    answers = ease.answer([Query(history=["i00001"], user={"age": 3}), Query(history=["i00001"])])
    assert answers.item_ids[0].equals(answers.item_ids[1])
