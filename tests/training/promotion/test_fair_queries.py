from types import SimpleNamespace

import polars as pl
import pytest

from recsys.config import parse_config
from training.promotion.fair_queries import Records, fair_queries

SPLITS = {"temporal": {"kind": "temporal", "val_start": 1, "test_start": 2}, "leave_one_out": {"kind": "leave_one_out"}}


def records(number, since, until, *, log, split="leave_one_out", read=None):
    """since: the time of each user's test target. until: of their last training event; read: of validation's, too."""
    config = parse_config({"data": {"events": "x", "time": "t"}, "split": SPLITS[split]}, "test")
    queries = pl.DataFrame({"user_id": [*since], "since": [*since.values()]})
    times = until | (read or {})
    trained = pl.DataFrame(
        {"user_id": [*times], "until": [until.get(user) for user in times], "read": [*times.values()]}
    )
    version = SimpleNamespace(name="m", number=number)
    per_query = queries.select("user_id", popularity=pl.lit(float(number)))
    return Records(version, config, SimpleNamespace(log=log), queries, per_query, trained)


def judged_on(challenger, champion):
    fair = fair_queries(challenger, champion)
    assert fair.per_query["user_id"].to_list() == fair.queries["user_id"].to_list()
    return fair.source.version.number, fair.queries["user_id"].to_list()


def test_on_the_same_log_every_query_counts():
    first = records(1, {"a": 5, "b": 6}, {"a": 4, "b": 5}, log="x")
    second = records(2, {"a": 5, "b": 6}, {"a": 4, "b": 9}, log="x")
    assert judged_on(second, first) == (1, ["a", "b"])
    assert judged_on(second, None) == (2, ["a", "b"])


def test_a_later_log_asks_for_what_neither_has_seen():
    """User a has a new event, b has not; c is new."""
    champion = records(1, {"a": 5, "b": 6}, {"a": 4, "b": 5}, log="x")
    challenger = records(2, {"a": 7, "b": 6, "c": 8}, {"a": 6, "b": 5, "c": 7}, log="y")
    assert judged_on(challenger, champion) == (2, ["a", "b", "c"])


def test_a_challenger_trained_past_the_champions_targets():
    """The champion's own targets have been trained on; of the challenger's, those later than both trainings count."""
    champion = records(1, {"a": 5, "b": 6, "c": 3}, {"a": 4, "b": 5, "c": 2}, log="x")
    challenger = records(2, {"a": 7, "b": 5}, {"a": 6, "b": 6, "c": 4}, log="y")  # b: the champion saw 5
    assert judged_on(challenger, champion) == (2, ["a"])
    older = records(3, {"a": 4}, {"a": 3}, log="z")  # a challenger of an older log: the champion's queries are later
    assert judged_on(older, champion) == (1, ["a", "b", "c"])


def test_a_challenger_that_chose_its_epoch_by_the_champions_targets():
    """They do not tell who is ahead, but the challenger was not trained on them: they tell whether it is broken."""
    champion = records(1, {"a": 5, "b": 6, "c": 9}, {"a": 4, "b": 5, "c": 8}, log="x")
    challenger = records(2, {"a": 7, "b": 8}, {"a": 3, "b": 7}, log="y", read={"a": 5, "b": 7})
    assert judged_on(challenger, champion) == (2, ["a", "b"])
    assert fair_queries(challenger, champion).own_test["user_id"].to_list() == ["a", "c"]
    assert fair_queries(challenger, None).own_test.is_empty()
    read = {"a": 4, "b": 5, "c": 8}
    same = records(3, {"a": 5, "b": 6, "c": 9}, {"a": 3, "b": 4, "c": 7}, log="x", read=read)
    assert judged_on(same, champion) == (1, ["a", "b", "c"])
    assert fair_queries(same, champion).own_test.is_empty()


def test_with_a_global_clock_the_last_validation_event_of_any_user_counts():
    champion = records(1, {"a": 15, "b": 30}, {"a": 10}, log="x", split="temporal")
    challenger = records(2, {"c": 40, "d": 41}, {"a": 12}, read={"new": 29}, log="y", split="temporal")
    assert judged_on(challenger, champion) == (2, ["c", "d"])
    assert fair_queries(challenger, champion).own_test["user_id"].to_list() == ["a", "b"]
    assert challenger.trained_users().to_list() == ["a"]


def test_a_global_clock_is_one_cut_for_all_users():
    champion = records(1, {"a": 15, "b": 30}, {"a": 10, "z": 12}, log="x", split="temporal")
    challenger = records(2, {"a": 12, "b": 26, "c": 25, "d": 27}, {"a": 8}, log="y", split="temporal")
    assert judged_on(challenger, champion) == (2, ["b", "c", "d"])  # a: never trained on at 12, but others were


def test_without_a_clock_the_logs_must_be_the_same():
    first, second = (records(number, {"a": 5}, {"a": 4}, log=log) for number, log in ((1, "x"), (2, "y")))
    for each in (first, second):
        for name, column in (("queries", ["since"]), ("trained", ["until", "read"])):
            object.__setattr__(each, name, getattr(each, name).drop(column))
    assert judged_on(second, first) == (1, [])
    object.__setattr__(second, "evaluation", SimpleNamespace(log="x"))
    assert judged_on(second, first) == (1, ["a"])


def test_logs_whose_ids_or_times_differ_in_type_cannot_be_compared():
    champion = records(1, {1: 5}, {1: 4}, log="x")
    challenger = records(2, {"a": 5}, {"a": 4}, log="y")
    with pytest.raises(ValueError, match="version 2 was trained on a user_id of type String, the queries have Int64"):
        fair_queries(challenger, champion)
