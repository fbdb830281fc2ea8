"""Scores of what a cluster's workers do, here in this process; tests/recsys/actions/test_engine.py asks a cluster."""

from contextlib import contextmanager, nullcontext

import pytest

import serving.on_ray
from recsys.answers import Mask
from recsys.errors import InputError
from recsys.retriever import RetrieverSource
from serving.batch_scoring import in_this_process, score
from serving.on_ray import on_ray


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    @contextmanager
    def task_map(folder):
        yield map

    monkeypatch.setattr(serving.on_ray, "connected", nullcontext)
    monkeypatch.setattr(serving.on_ray, "task_map", task_map)


@pytest.fixture
def source(small_run):
    paths = {name: str(small_run.folder / f"{name}.parquet") for name in ("items", "users")}
    return RetrieverSource(str(small_run.run / "bundle"), **paths).fixed()


def test_the_bytes_are_those_of_local_scores(small_run, source, many_partitions, tmp_path):
    mask = Mask(item_ids=tuple(small_run.items["item_id"].head(3)))
    settings = {"events": str(small_run.folder / "events.parquet"), "k": 10, "mask": mask}
    retriever, names = source.load(), []
    runs = {"local": in_this_process, "ray": on_ray(source, mask, "head:6379")}
    for name, run in runs.items():
        score(retriever, tmp_path / name, **settings, run=run, on_partition=names.append)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert names[: len(names) // 2] == names[len(names) // 2 :]


def test_another_bundle_by_then_is_one_line(small_run, retriever, source, tmp_path):
    """The retriever of this process has no tables of its own, and that of the workers has."""
    events = str(small_run.folder / "events.parquet")
    with pytest.raises(InputError, match="or the tables of items and users differ"):
        score(retriever, tmp_path / "recs", events=events, k=10, run=on_ray(source, None, None))
