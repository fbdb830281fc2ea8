import os
import sys
import time
from pathlib import Path

import pytest

from recsys import ray_cluster
from recsys.errors import BundleError, InputError
from recsys.ray_cluster import connected, task_map


def where(_: int) -> tuple[str, int, str | None]:
    import ray

    time.sleep(0.1)
    return ray.get_runtime_context().get_node_id(), os.getpid(), os.environ.get("POLARS_MAX_THREADS")


def fail(error: Exception, folder: Path) -> None:
    if error.args[0]:
        raise error
    time.sleep(0.5)
    (folder / f"{time.monotonic()}").touch()


@pytest.fixture(autouse=True)
def by_value(ray_address: str) -> None:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test


def test_tasks_run_on_all_nodes_with_one_thread_each(tmp_path: Path) -> None:
    with task_map(tmp_path) as on_cluster:
        assert list(on_cluster(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]
        nodes, processes, threads = zip(*on_cluster(where, range(8)), strict=True)
    assert len(set(nodes)) == 2
    assert os.getpid() not in processes
    assert set(threads) == {"1"}
    assert not [*tmp_path.iterdir()]


def test_an_error_is_that_of_the_function_and_nothing_runs_after_it(tmp_path: Path) -> None:
    for error in (BundleError("damaged"), KeyError("a bug")):
        errors = [error, *[InputError("")] * 20]  # the others would take 5 seconds
        with pytest.raises(type(error)) as raised, task_map(tmp_path) as on_cluster:
            list(on_cluster(fail, errors, [tmp_path] * 21))
        assert raised.value.args == error.args
        assert (raised.value.__cause__ is None) == isinstance(error, InputError)
        written = sorted(tmp_path.iterdir())
        assert len(written) < 10
        time.sleep(0.7)
        assert sorted(tmp_path.iterdir()) == written


def test_a_machine_that_is_unlike_the_others_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not see .*expected one file system that all machines"):
        ray_cluster._require_same(tmp_path / "elsewhere" / "x", ray_cluster.__version__)
    with pytest.raises(InputError, match=r"recsys is .* and 0\.0 where the job was started"):
        ray_cluster._require_same(tmp_path, "0.0")
    with pytest.raises(InputError, match=r"recsys is .* and 0\.0 where the job was started"):
        ray_cluster._task._function(tmp_path, "0.0", pow, 2, 2)  # on a machine that joined after the first look


@pytest.mark.parametrize(
    ("address", "what"),
    [("127.0.0.1:1", "no Ray cluster at 127.0.0.1:1: .*efused"), ("nonsense", "expected HOST:PORT"),
     ("", "--address is ''"), ("ray://127.0.0.1:10001", "expected HOST:PORT"),
     ("nowhere.invalid:6379", "no Ray cluster at nowhere.invalid")],
)  # fmt: skip
def test_an_address_without_a_cluster_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str, what: str
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(InputError, match=what), connected(address):
        pass


def test_without_an_address_no_cluster_is_joined_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    addresses: list[str] = []
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda address, **_: addresses.append(address))
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with connected(None):
        assert addresses == ["local"]
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(InputError, match="RAY_ADDRESS is 'http://127"), connected(None):
        pass

    def fail_to_start(**_: object) -> None:
        raise ray.exceptions.RaySystemError("no room")

    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr("ray.init", fail_to_start)
    with pytest.raises(InputError, match=r"Ray does not start on this machine: .*no room"), connected(None):
        pass


def test_a_task_whose_arguments_are_lost_is_one_line() -> None:
    from ray.exceptions import NodeDiedError, RayTaskError

    with pytest.raises(InputError, match=r"gave up on a task \(NodeDiedError: .*power"):
        ray_cluster._raise_as_here(RayTaskError("pow", "a traceback", NodeDiedError("power failed")))
