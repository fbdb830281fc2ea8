"""Who asks, as positions and metadata rows; test_query.py asks for answers."""

import numpy as np
import pytest

from recsys.retriever import KnownUsers, Query
from recsys.retriever.request_users import UserReader


@pytest.fixture(scope="module")
def reader(small_run, retriever):
    return UserReader(retriever.bundle, KnownUsers.read(retriever.bundle, str(small_run.folder / "events.parquet")))


def test_a_history_goes_before_the_log_and_recent_items_come_last(reader, histories):
    (first, logged), (second, _) = histories.row(0), histories.row(1)
    a, b = reader.bundle.encoder.item_ids.to_list()[:2]
    queries = [
        Query(user_id=first), Query(history=[a, "x"]), Query(history=[b], user_id=second), Query(user_id="nobody"),
        Query(user_id=first, recent=[b]), Query(history=[], recent=[a]), Query(recent=[a], history=[b]),
    ]  # fmt: skip
    users = reader.read_queries(queries)
    own = reader.bundle.encoder.positions(histories["item_id"][0]).tolist()
    assert len(own) == len(logged)
    rows = [users.history[row].tolist() for row in range(len(users))]
    assert rows == [own, [1, 0], [2], [], [*own, 2], [1], [2, 1]]
    known = reader.bundle.users["user_id"].to_list()
    assert users.rows.tolist() == [
        0 if user is None or user == "nobody" else 1 + known.index(user)
        for user in (query.user_id for query in queries)
    ]
    assert users.rows[0] != users.rows[2]
    some = users.take(np.array([4, 2]))
    assert [some.history[row].tolist() for row in range(2)] == [rows[4], rows[2]]
    assert some.rows.tolist() == users.rows[[4, 2]].tolist()


def test_columns_and_queries_are_read_alike(reader, histories):
    user_ids = histories["user_id"].head(5).to_list()
    recent = [["i00001"], [], ["i00003", "i00004"], [], []]
    by_column = reader.read(None, user_ids, recent)
    by_query = reader.read_queries([Query(user_id=u, recent=r) for u, r in zip(user_ids, recent, strict=True)])
    np.testing.assert_array_equal(by_column.history.values, by_query.history.values)
    np.testing.assert_array_equal(by_column.history.offsets, by_query.history.offsets)
    np.testing.assert_array_equal(by_column.rows, by_query.rows)


def test_users_keep_their_columns_where_some_are_taken(reader):
    """As rows of the smaller batch."""
    ages = [5, None, 20, None, 40]
    users = reader.read_queries([Query(history=["i00001"], user={"age": age}) for age in ages])
    taken = users.take(np.array([1, 2, 4]))
    (update,) = taken.updates
    assert update.rows.tolist() == [1, 2]
    assert update.values.equals(users.updates[0].values.gather([1, 2]))
