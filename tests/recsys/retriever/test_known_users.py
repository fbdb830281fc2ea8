"""A log gives the histories of its users, whole and in order; nobody else is known by id."""

import polars as pl
import pytest

from recsys.bundle import load_bundle
from recsys.data import clean_events
from recsys.errors import InputError
from recsys.retriever import KnownUsers, Query, Retriever, logged_histories


@pytest.fixture(scope="module")
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


@pytest.fixture
def log(small_run):
    return str(small_run.folder / "events.parquet")


def test_histories_are_whole_and_in_order(small_run, bundle, log):
    logged = logged_histories(bundle, log)
    assert logged["user_id"].is_sorted()
    assert logged["history"].list.len().sum() == small_run.events.height
    user_id, history = logged.row(7)
    expected = small_run.events.filter(user_id=user_id).sort("timestamp", maintain_order=True)
    assert history == expected["item_id"].to_list()


def test_histories_of_users_are_positions_and_empty_for_strangers(bundle, log):
    users = KnownUsers.read(bundle, log)
    logged = logged_histories(bundle, log)
    rows = users.rows(pl.Series([logged["user_id"][3], "nobody", logged["user_id"][0]]))
    histories = users.take(rows)
    assert rows.tolist() == [4, 0, 1]
    assert bundle.encoder.ids(histories[0]).to_list() == logged["history"][3].to_list()
    assert len(histories[1]) == 0
    assert bundle.encoder.ids(histories[2]).to_list() == logged["history"][0].to_list()


def test_without_a_log_nobody_is_known_by_id(small_run):
    with pytest.raises(ValueError, match=r"known by id only after Retriever.load\(bundle, events=LOG\)"):
        Retriever.load(small_run.run / "bundle").recommend(user_ids=["u00001"])


def test_a_log_that_changes_while_it_is_read_is_refused(small_run, bundle, tmp_path, monkeypatch):
    path = tmp_path / "events.parquet"
    small_run.events.write_parquet(path)

    def slow(events):
        cleaned = clean_events(events)
        small_run.events.head(100).write_parquet(path)
        return cleaned

    monkeypatch.setattr("recsys.retriever.known_users.clean_events", slow)
    with pytest.raises(InputError, match=r"events at .* changed while it was read"):
        Retriever.load(small_run.run / "bundle", events=path)


def test_vectors_computed_ahead_answer_to_the_same_bits(small_run, retriever, histories, monkeypatch):
    """Alone and in a batch, beside users who are computed now; nobody whose history changed is taken from there."""
    folder, users = small_run.folder, histories["user_id"].to_list()
    monkeypatch.setattr("recsys.retriever.known_users.USERS_AT_ONCE", 70)
    ahead = Retriever.load(small_run.run / "bundle", events=folder / "events.parquet", encode_ahead=True)
    recent = ["i00001", "i00005"]
    queries = [Query(user_id=user) for user in users[:40]]
    queries += [Query(user_id=users[5], recent=recent), Query(user_id=users[6], recent=[]), Query(user_id="nobody")]
    queries += [Query(user_id=users[7], user={"age": 12}), Query(user_id=users[8], user={"age": None})]
    queries += [Query(history=recent), Query(history=recent, user_id=users[9])]
    now, batch = retriever.answer(queries), ahead.answer(queries)
    for row, query in enumerate(queries):
        for answers, at in ((batch, row), (ahead.answer([query]), 0)):
            assert answers.item_ids[at].equals(now.item_ids[row])
            assert answers.scores[at].equals(now.scores[row])
            assert answers.reasons[at] == now.reasons[row]
    everybody = retriever.recommend(user_ids=users, k=3)
    assert ahead.recommend(user_ids=users, k=3).scores.equals(everybody.scores)
    known = ahead._reader.known
    assert known.vectors.shape == (300, retriever.bundle.item_vectors.shape[1])
    monkeypatch.setattr(ahead._catalogue.model, "encode", None)  # a search is all that is left
    assert ahead.recommend(user_ids=users[:9], k=3).scores.equals(everybody.scores[:9])
    assert ahead.recommend(user_ids=users[:9], recent=[[]] * 9, k=3).scores.equals(everybody.scores[:9])
    for changed in ({"recent": [recent]}, {"users": pl.DataFrame({"age": [3]})}, {"histories": [recent]}):
        with pytest.raises(TypeError):
            ahead.recommend(user_ids=users[:1], **changed)


def test_a_newer_log_is_read_without_another_bundle_and_only_what_is_new_is_encoded(small_run, monkeypatch):
    events = small_run.events
    before = Retriever.load(small_run.run / "bundle", events=events, encode_ahead=True)
    last = events["timestamp"].max()
    new = events.head(2).with_columns(user_id=pl.Series(["u00003", "zz"]), timestamp=pl.lit(last, pl.Int64) + 1)
    encoded, encode = [], Retriever.encode
    monkeypatch.setattr(
        Retriever, "encode", lambda self, history, rows: encoded.append(len(rows)) or encode(self, history, rows)
    )
    log = pl.concat([events.filter(pl.col("user_id") != "u00001"), new])
    after = before.with_events(log, encode_ahead=True)
    assert encoded == [2]
    plain = before.with_events(log)
    assert plain._reader.known.vectors is None
    users = [*before._reader.known.user_ids.head(20), "zz"]
    answers, expected = after.recommend(user_ids=users), plain.recommend(user_ids=users)
    assert answers.scores.equals(expected.scores)
    assert answers.item_ids.equals(expected.item_ids)
    assert after.bundle is before.bundle
    assert before.recommend(user_ids=["zz"]).reasons[0] is not None
    assert expected.reasons.null_count() == 21  # u00001, who left the log, is placed by age
    assert not expected.scores[1].equals(before.recommend(user_ids=users).scores[1])


def test_a_baseline_has_nothing_to_compute_ahead(small_run, baseline_bundles):
    log = small_run.folder / "events.parquet"
    ahead = Retriever.load(baseline_bundles["ease"], events=log, encode_ahead=True)
    assert ahead._reader.known.vectors is None
    assert len(ahead.recommend(user_ids=["u00001"]).item_ids[0]) == 10
