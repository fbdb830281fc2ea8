"""The service gives the retriever's answers, from threads and from asyncio, and learns new users from the log."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from recsys.errors import InputError
from recsys.retriever import Query
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


def test_a_bad_query_fails_alone(service):
    with pytest.raises(InputError, match="k is 0"):
        service.recommend(Query(history=["i00001"], k=0))
    assert len(service.recommend(Query(history=["i00001"])).item_ids) == 10


def test_a_user_who_joins_the_log_is_known_without_a_restart(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.service.service.USERS_SECONDS", 0.05)
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
