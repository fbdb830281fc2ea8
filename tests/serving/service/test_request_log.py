"""What is logged can be answered again, item by item; logging never fails a request."""

import json
import os
import time

import polars as pl
import pytest

from recsys.actions import invoke
from recsys.answers import Mask
from recsys.cli import app
from recsys.data import read_queries
from recsys.retriever import Query, Retriever
from serving.service import RequestLog, Service, Settings, replay, request_log

QUERIES = [
    Query(user_id="u00007"), Query(user_id="u00007", recent=["i00003", "i00004"], user={"age": 60}), Query(history=[]),
    Query(user_id="u00008", history=["i00001", "unknown"], exclude=["i00009"], k=5, exclude_seen=False),
    Query(history=["i00001"], where={"or": [["year", ">=", 1990], ["year", "<", 1950]]}, diversity=0.3),
    Query(history=["i00001"], per={"genre": 1}, only=[f"i{number:05}" for number in range(60)], k=4),
]  # fmt: skip


@pytest.fixture(scope="module")
def service(small_run, tmp_path_factory):
    settings = Settings(
        str(small_run.run / "bundle"), events=str(small_run.folder / "events.parquet"),
        cache=tmp_path_factory.mktemp("cache"),
    )  # fmt: skip
    with Service(settings) as service:
        yield service


def logged(service, folder, **options):
    """The rows of a log of all queries, half of them under a mask."""
    log = RequestLog(folder, **options)
    for number, masked in enumerate(([], ["i00002", "i00005"])):
        service.put_mask(masked)
        for query in QUERIES:
            log.add(query, service.recommend(query), f"r{number}")
    log.close()
    assert log.dropped == 0
    (file,) = folder.glob("*.parquet")
    return pl.read_parquet(file)


def test_every_answer_can_be_given_again(service, small_run, tmp_path):
    table = logged(service, tmp_path)
    answers = replay(tmp_path, table, Retriever.load(small_run.run / "bundle"))
    assert len(answers) == 2 * len(QUERIES)
    assert [again.item_ids[0].to_list() for again in answers] == table["item_ids"].to_list()
    assert [again.scores[0].to_list() for again in answers] == table["scores"].to_list()
    assert [again.reasons[0] for again in answers] == table["reason"].to_list()
    assert [again.mask_version for again in answers] == table["mask_version"].to_list()
    assert set(table["bundle_id"]) == {small_run.bundle_id}


def test_a_log_is_a_file_of_queries(service, tmp_path):
    table = logged(service, tmp_path)
    for location in (f"{tmp_path}/*.parquet", str(tmp_path)):
        queries = read_queries(location)
        assert queries["history"].to_list() == table["history"].to_list()
    assert queries["history"].list.len().max() > 2


@pytest.mark.parametrize("with_users", [True, False])
def test_two_bundles_are_compared_on_a_log(service, small_run, tmp_path, capsys, with_users):
    """By its folder, which holds the masks too; with who asked or without."""
    table = logged(service, tmp_path, with_users=with_users)
    bundle = str(small_run.run / "bundle")
    assert invoke(app, ["compare", bundle, bundle, "--queries", str(tmp_path), "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    known = table["history"].list.eval(pl.element().is_in(small_run.items["item_id"].to_list())).list.any()
    assert (outcome["verdict"], outcome["figures"]["users"]["compared"]) == ("identical", known.sum())
    users = [lists["user_id"] for lists in outcome["figures"]["examples"]]
    assert with_users == any(users)


def test_users_can_be_left_out(service, tmp_path):
    table = logged(service, tmp_path, with_users=False)
    assert table["user_id"].null_count() == table.height
    assert set(table["user"]) == {"null"}
    assert table.columns == logged(service, tmp_path / "other").columns


def test_a_full_queue_and_a_full_disk_drop_and_count(service, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(request_log, "MAX_QUEUE", 2)
    monkeypatch.setattr(request_log, "_table", None)
    log, answer = RequestLog(tmp_path), service.recommend(QUERIES[0])
    for _ in range(3):
        log.add(QUERIES[0], answer, "r")
    assert log.dropped == 1
    log.close()
    assert log.dropped == 3
    assert "2 requests are not logged" in caplog.text
    assert not list(tmp_path.glob("*.parquet"))


def test_files_rotate_and_old_ones_go(service, tmp_path, monkeypatch):
    monkeypatch.setattr(request_log, "ROTATE_SECONDS", 0.02)
    old, answer = tmp_path / "old.parquet", service.recommend(QUERIES[0])
    old.write_bytes(b"")
    os.utime(old, (0, time.time() - 3 * request_log.DAY))
    log = RequestLog(tmp_path, days=2)
    for _ in range(2):
        log.add(QUERIES[0], answer, "r")
        count = len(list(tmp_path.glob("*.parquet")))
        for _ in range(500):
            time.sleep(0.01)
            if not log._queue and not old.exists() and len(list(tmp_path.glob("*-*.parquet"))) > count - 1:
                break
    log.close()
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    assert isinstance(Mask.at(tmp_path / "masks" / f"{answer.mask_version}.json"), Mask)
