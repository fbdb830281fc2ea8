"""A build on a cluster of two nodes: the bytes of a local one, also where workers are killed."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import features.on_ray
from features.build import build
from features.on_ray import build_on_ray
from recsys import ray_cluster
from recsys.errors import InputError
from tests.random_logs import config_of, contents, random_log, with_metadata

KILLED = ("_write_rows", "group_shard")  # of four functions, since every new worker costs a second


@pytest.fixture(autouse=True)
def small_slices(ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.on_ray, "ROWS_AT_ONCE", 150)  # of 400


@pytest.mark.parametrize(("form", "shards"), [("parquet", 1), ("parquet", 3), ("csv", 2)])
def test_the_bytes_are_those_of_a_local_build(tmp_path: Path, form: str, shards: int) -> None:
    test = random_log(1).with_columns(pl.col("timestamp") + 300)
    test.write_parquet(tmp_path / "test.parquet")
    split = {"split": {"kind": "given", "test": str(tmp_path / "test.parquet")}}
    events = tmp_path / f"log.{form}"
    random_log().write_csv(events) if form == "csv" else random_log().write_parquet(events)
    changed = {"events": str(events), "shards": shards} | ({"id_type": "integer"} if form == "csv" else {})
    config = with_metadata(tmp_path, random_log(), split, **changed)
    on_ray = build_on_ray(config, tmp_path / "ray", None)
    assert contents(on_ray.path) == contents(build(config, tmp_path / "local").path)
    assert on_ray.digest == build_on_ray(config, tmp_path / "local", None).digest  # it is reused


def test_killed_workers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is killed after its work, before anybody knows of it."""

    @contextmanager
    def killing(folder: Path) -> Iterator[ray_cluster.Map]:
        with ray_cluster.task_map(folder) as on_cluster:

            def killing_map(function: Callable[..., Any], *arguments: Iterable[Any]) -> Iterable[Any]:
                return on_cluster(_killed_once(function, tmp_path), *arguments)

            yield killing_map

    config = with_metadata(tmp_path, random_log(), shards=2)
    with monkeypatch.context() as patch:
        patch.setattr(features.on_ray, "task_map", killing)
        on_ray = build_on_ray(config, tmp_path / "ray", None)
    assert {path.suffix for path in tmp_path.glob("killed.*")} == {f".{name}" for name in KILLED}
    assert contents(on_ray.path) == contents(build(config, tmp_path / "local").path)


def _killed_once(function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

    def call(*arguments: Any) -> Any:
        result = function(*arguments)
        name = function.func.__name__  # type: ignore[attr-defined]  # of a partial
        marker = folder / f"killed.{name}"
        if name in KILLED and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


def test_bad_input_is_the_same_line_as_locally(tmp_path: Path) -> None:
    config = config_of(tmp_path, random_log(num_events=4_000), shards=2)
    content = bytearray((tmp_path / "events.parquet").read_bytes())
    content[2_000:2_400] = bytes(400)
    (tmp_path / "events.parquet").write_bytes(content)
    with pytest.raises(InputError) as locally:
        build(config, tmp_path / "out")
    with pytest.raises(InputError) as on_ray:
        build_on_ray(config, tmp_path / "out", None)
    assert str(on_ray.value) == str(locally.value)
    assert on_ray.value.__cause__ is None
    assert {path.name for path in tmp_path.iterdir()} == {"events.parquet"}
