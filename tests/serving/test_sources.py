"""Inputs that change while they are read: a refusal in one line that leaves nothing, or the same result."""

import os
import shutil

import polars as pl
import pytest

from recsys.errors import InputError
from recsys.retriever import Retriever
from serving import sources
from serving.batch_scoring import score
from tests.serving.test_batch_scoring_restarts import contents


def cut(folder):
    os.truncate(folder / "b.parquet", (folder / "b.parquet").stat().st_size // 2)


def replace_by_fewer(folder):
    pl.read_parquet(folder / "b.parquet").head(50).write_parquet(folder / ".new")
    (folder / ".new").rename(folder / "b.parquet")


def replace_by_as_many(folder):
    table = pl.read_parquet(folder / "b.parquet")
    table.select(pl.col(table.columns).reverse()).write_parquet(folder / ".new")
    (folder / ".new").rename(folder / "b.parquet")


def overwrite(folder):
    """A few bytes, with the size and the time stamp as before."""
    path = folder / "b.parquet"
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(stat.st_size // 2)
        file.write(b"nothing silent")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def append(folder):
    shutil.copy(folder / "a.parquet", folder / "c.parquet")


def remove(folder):
    (folder / "b.parquet").unlink()


def touch(folder):
    os.utime(folder / "b.parquet")


def replace_and_restore(folder):
    """Others stood there for a moment, which no digest tells."""
    (folder / "b.parquet").rename(folder / ".kept")
    shutil.copy(folder / "a.parquet", folder / "b.parquet")
    (folder / ".kept").rename(folder / "b.parquet")


LASTING = [cut, replace_by_fewer, replace_by_as_many, overwrite, append, remove]


@pytest.fixture(params=["events", "queries"])
def settings(request, small_run, tmp_path, monkeypatch):
    """Two files of a log, or of queries, in tmp_path/input, which are read in small batches."""
    monkeypatch.setattr(sources, "EVENTS_IN_MEMORY", 500)
    monkeypatch.setattr(sources, "USERS_PER_PARTITION", 100)
    table = small_run.events
    if request.param == "queries":
        table = small_run.dataset.queries("test").select("user_id", "history")
    (tmp_path / "input").mkdir()
    half = table.height // 2
    for name, rows in (("a", table.head(half)), ("b", table.tail(-half))):
        rows.write_parquet(tmp_path / "input" / f"{name}.parquet", row_group_size=100)
    return {request.param: str(tmp_path / "input"), "k": 5}


@pytest.fixture
def meanwhile(tmp_path, monkeypatch):
    """A function: have the input changed when its first batch is being written."""

    def arrange(change, times=1):
        left = [change] * times

        def slow(batches, *_):
            for batch in batches:
                if left:
                    left.pop()(tmp_path / "input")
                yield batch

        monkeypatch.setattr(sources, "track", slow)

    return arrange


@pytest.mark.parametrize("change", LASTING)
def test_an_input_that_changes_while_it_is_read_is_refused(change, settings, meanwhile, retriever, tmp_path):
    meanwhile(change)
    (tmp_path / "input").rename(tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", tmp_path / "input")
    with pytest.raises(InputError, match=r"changed while it was read|cannot read|could be read") as refused:
        score(retriever, tmp_path / "recs", **settings)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "recs").exists()
    shutil.rmtree(tmp_path / "input")
    (tmp_path / "kept").rename(tmp_path / "input")
    score(retriever, tmp_path / "recs", **settings)


@pytest.mark.parametrize("change", [touch, replace_and_restore])
def test_an_input_that_is_touched_is_read_again(change, settings, meanwhile, retriever, tmp_path):
    score(retriever, tmp_path / "calm", **settings)
    meanwhile(change)
    score(retriever, tmp_path / "recs", **settings)
    assert contents(tmp_path / "recs") == contents(tmp_path / "calm")
    meanwhile(change, times=1_000)
    with pytest.raises(InputError, match="is touched all the time"):
        score(retriever, tmp_path / "third", **settings)


@pytest.mark.parametrize("change", LASTING)
def test_a_killed_run_is_not_continued_on_a_changed_input(change, settings, retriever, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("serving.partition._write_partition", killed)
        with pytest.raises(KeyboardInterrupt):
            score(retriever, tmp_path / "recs", **settings)
    assert (tmp_path / "recs" / "interim").exists()
    change(tmp_path / "input")
    try:
        score(retriever, tmp_path / "recs", **settings)
    except InputError:
        assert change in (cut, overwrite, append)  # a repeated user is no queries file
    else:
        score(retriever, tmp_path / "calm", **settings)
        assert contents(tmp_path / "recs") == contents(tmp_path / "calm")


def test_rows_that_polars_loses_are_missed(settings, retriever, tmp_path, monkeypatch):
    """A panic in a thread of Polars ends the batches as if they were all."""
    real = sources.Source._batches
    monkeypatch.setattr(sources.Source, "_batches", lambda self: list(real(self))[:-1])
    with pytest.raises(InputError, match=r"of [\d,]+ rows could be read; expected files at rest"):
        score(retriever, tmp_path / "recs", **settings)


@pytest.mark.parametrize("role", ["items", "users"])
@pytest.mark.parametrize("change", [cut, append, replace_by_as_many])
def test_metadata_that_changes_while_it_is_read_is_refused(change, role, small_run, tmp_path, monkeypatch):
    from recsys.retriever import fresh_metadata

    (tmp_path / "input").mkdir()
    table = pl.read_parquet(small_run.folder / f"{role}.parquet")
    for name, rows in (("a", table.head(100)), ("b", table.tail(-100))):
        rows.write_parquet(tmp_path / "input" / f"{name}.parquet")
    real = fresh_metadata.with_metadata

    def slow(*arguments, **settings):
        bundle = real(*arguments, **settings)
        change(tmp_path / "input")
        return bundle

    monkeypatch.setattr(fresh_metadata, "with_metadata", slow)
    with pytest.raises(InputError, match=f"{role} at .* changed while it was read"):
        Retriever.load(small_run.run / "bundle", **{role: tmp_path / "input"})


def test_scores_are_not_written_among_the_events(settings, retriever, tmp_path):
    with pytest.raises(InputError, match=r"input/recs is inside the (events|queries)"):
        score(retriever, tmp_path / "input" / "recs", **settings)
    assert not (tmp_path / "input" / "recs").exists()


def test_a_night_of_text_has_the_ids_that_the_bundle_knows(retriever, integer_bundle, tmp_path):
    digits = tmp_path / "digits.csv"
    digits.write_text("user_id,item_id,time,timestamp\n7,3,1,1\n0042,4,2,2\n")
    of_text = sources.open_log(retriever, str(digits))
    assert of_text.table.collect()["user_id"].to_list() == ["7", "0042"]
    integers = Retriever.load(integer_bundle)
    with pytest.raises(InputError, match="user_id holds '0042'; expected Int64 ids"):
        sources.open_log(integers, str(digits))
    pl.read_parquet(tmp_path / "events.parquet").write_csv(tmp_path / "events.csv")
    of_integers = sources.open_log(integers, str(tmp_path / "events.csv"))
    assert of_integers.table.collect().equals(
        sources.open_log(integers, str(tmp_path / "events.parquet")).table.collect()
    )


def test_a_night_whose_ids_are_all_blank_has_nobody(retriever, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text('user_id,item_id,timestamp\n"",3,1\n" ",4,2\n')
    with pytest.raises(InputError, match="2 rows, none of them with a user, an item and a time"):
        sources.open_log(retriever, str(log))
