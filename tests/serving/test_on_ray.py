"""Scores from a cluster of two nodes: the bytes of local ones, also where workers are killed."""

import os
import signal
import sys
from contextlib import contextmanager

import pytest

import serving.on_ray
from recsys import ray_cluster
from recsys.answers import Mask
from recsys.errors import InputError
from recsys.retriever import RetrieverSource
from serving.batch_scoring import in_this_process, score
from serving.on_ray import on_ray


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def source(small_run):
    paths = {name: str(small_run.folder / f"{name}.parquet") for name in ("items", "users")}
    return RetrieverSource(str(small_run.run / "bundle"), **paths).fixed()


def killed_once(function, folder):
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

    def call(number):
        record = function(number)
        if number == 0 and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return record

    return call


def test_the_bytes_are_those_of_local_scores(small_run, source, ray_address, many_partitions, tmp_path, monkeypatch):
    @contextmanager
    def killing(folder):
        with ray_cluster.task_map(folder) as on_cluster:
            yield lambda function, numbers: on_cluster(killed_once(function, tmp_path), numbers)

    monkeypatch.setattr(serving.on_ray, "task_map", killing)
    mask = Mask(item_ids=tuple(small_run.items["item_id"].head(3)))
    settings = {"events": str(small_run.folder / "events.parquet"), "k": 10, "mask": mask}
    retriever, names = source.load(), []
    runs = {"local": in_this_process, "ray": on_ray(source, mask, None)}
    for name, run in runs.items():
        score(retriever, tmp_path / name, **settings, run=run, on_partition=names.append)
    assert (tmp_path / "killed").exists()
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert names[: len(names) // 2] == names[len(names) // 2 :]


def test_another_bundle_by_then_is_one_line(small_run, retriever, source, ray_address, tmp_path):
    """The retriever of this process has no tables of its own, and that of the workers has."""
    events = str(small_run.folder / "events.parquet")
    with pytest.raises(InputError, match="or the tables of items and users differ") as raised:
        score(retriever, tmp_path / "recs", events=events, k=10, run=on_ray(source, None, None))
    assert raised.value.__cause__ is None
