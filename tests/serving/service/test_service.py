"""The service gives the retriever's answers, from threads and from asyncio, and learns new users from the log."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from recsys.errors import InputError
from recsys.retriever import Query, Retriever
from serving.service import Service, Settings


def test_threads_and_asyncio_get_the_retriever_s_answers(service, retriever, small_run):
    users = small_run.events.get_column("user_id").unique().sort().head(20).to_list()
    expected = retriever.recommend(user_ids=users, k=7)
    queries = [Query(user_id=user, k=7) for user in users]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(service.recommend, queries))
    assert [answer.item_ids.to_list() for answer in answers] == expected.item_ids.to_list()
    assert [answer.scores.to_list() for answer in answers] == expected.scores.to_list()
    gathered = asyncio.run(service.recommend_all_async(queries))
    assert [answer.item_ids.to_list() for answer in gathered] == expected.item_ids.to_list()
    assert {answer.served for answer in answers} == {service.served}


def test_a_bad_query_fails_alone(service, retriever):
    good = [Query(history=[item]) for item in ("i00001", "i00002", "i00003")]
    bad = [Query(history=["i00001"], k=0), Query(history=["i00001"], where=[("colour", "==", "red")]), Query()]
    outcomes = service._answer([good[0], bad[0], bad[0], good[1], bad[1], bad[2], good[2]])
    answers, errors = [outcomes[row] for row in (0, 3, 6)], [outcomes[row] for row in (1, 2, 4, 5)]
    assert [a.item_ids.to_list() for a in answers] == [retriever.answer([q]).item_ids[0].to_list() for q in good]
    assert [str(error).partition(";")[0] for error in errors] == [
        "k is 0", "k is 0", "where: no column 'colour'", "nobody to recommend to",
    ]  # fmt: skip
    with pytest.raises(InputError, match="k is 0"):
        service.recommend(bad[0])


def test_a_bug_that_one_query_provokes_fails_it_alone(service, monkeypatch):
    answer = Retriever.answer

    def with_bug(retriever, queries):
        if any(query.k == 13 for query in queries):
            raise ZeroDivisionError
        return answer(retriever, queries)

    monkeypatch.setattr(Retriever, "answer", with_bug)
    good, bad = service._answer([Query(history=["i00001"]), Query(history=["i00001"], k=13)])
    assert len(good.item_ids) == 10
    assert isinstance(bad, ZeroDivisionError)


def test_known_users_are_encoded_before_or_after_a_version_takes_over(settings, monkeypatch):
    monkeypatch.setattr("serving.service.service.TABLES_SECONDS", 3600)
    with Service(settings) as service:
        assert service.served.is_encoded_ahead
    monkeypatch.setattr("serving.service.service.AHEAD_SECONDS", 0)
    with Service(settings) as service:
        assert not service.served.is_encoded_ahead
        before = service.recommend(Query(user_id="u00001"))
        service._look_at_tables()
        assert service.served.is_encoded_ahead
        after = service.recommend(Query(user_id="u00001"))
        assert before.item_ids.equals(after.item_ids)


def test_a_user_who_joins_the_log_is_known_without_a_restart(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.service.service.TABLES_SECONDS", 0.05)
    log = tmp_path / "events.parquet"
    small_run.events.write_parquet(log)
    with Service(Settings(str(small_run.run / "bundle"), events=str(log))) as service:
        assert "fallback" in service.recommend(Query(user_id="new")).reason
        joined = small_run.events.head(5).with_columns(user_id=pl.lit("new"))
        pl.concat([small_run.events, joined]).write_parquet(log)
        for _ in range(200):
            answer = service.recommend(Query(user_id="new"))
            if answer.reason is None:
                break
            asyncio.run(asyncio.sleep(0.05))
        assert answer.reason is None
