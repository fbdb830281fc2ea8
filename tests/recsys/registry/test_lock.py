import os
import subprocess
import threading
import time

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from recsys.errors import InputError
from recsys.registry import lock
from recsys.registry.store import Registry


@pytest.fixture
def store(registry_uri):
    return Registry(registry_uri)


def token(host):
    """What a process on another machine writes into a lock."""
    return f"{host} 1 2 boot/3 {'0' * 32}"


def locks(store):
    return [model.name for model in store.client.search_registered_models()]


def test_one_process_holds_the_lock_at_a_time(store, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.5)
    with store.locked("m") as held:
        held()
        assert locks(store) == ["m.lock"]
        with (
            pytest.raises(ValueError, match=r"m is locked by .*; expected it to be free within 0 s"),
            store.locked("m"),
        ):
            pass
        with store.locked("other"):
            pass
        held()
    assert locks(store) == []
    with store.locked("m"):
        pass


def test_waiting_processes_take_turns(registry_uri, store):
    inside, most = [], []

    def work():
        with Registry(registry_uri).locked("m"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6
    assert locks(store) == []


def test_an_error_releases_the_lock(store):
    with pytest.raises(KeyError), store.locked("m"):
        raise KeyError
    assert locks(store) == []


def test_the_lock_of_a_dead_holder_is_broken_after_a_while(store, monkeypatch):
    store.client.create_registered_model("m.lock", description=token("elsewhere"))
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.3)
    with pytest.raises(ValueError, match="m is locked by elsewhere"), store.locked("m"):
        pass
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.0)
    with store.locked("m") as held:
        held()
    assert locks(store) == []


def test_the_lock_of_a_dead_holder_on_this_machine_is_broken_at_once(store, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.3)
    holder = subprocess.Popen(["sleep", "100"])
    started, here, mine = lock._start_time(holder.pid), lock._this_machine(), lock._start_time(os.getpid())

    def left(pid, started, here):
        store.client.create_registered_model("m.lock", description=f"host {pid} {started} {here} {'0' * 32}")

    left(holder.pid, started, here)
    with pytest.raises(ValueError, match=f"m is locked by host {holder.pid}"), store.locked("m"):
        pass
    holder.kill()
    while lock._start_time(holder.pid) != lock.ENDED:  # killed; not waited for yet
        time.sleep(0.01)
    with store.locked("m"):
        pass
    holder.wait()
    left(holder.pid, started, here)
    with store.locked("m"):
        pass
    left(os.getpid(), int(mine) - 1, here)  # the number has come again
    with store.locked("m"):
        pass
    left(holder.pid, started, "another/machine")
    with pytest.raises(ValueError, match="m is locked by host"), store.locked("m"):
        pass


def test_a_holder_that_lost_the_lock_is_told_and_leaves_the_new_holder_alone(store):
    with store.locked("m") as held:
        store.client.delete_registered_model("m.lock")
        with pytest.raises(ValueError, match="the lock was lost to another process"):
            held()
        store.client.create_registered_model("m.lock", description=token("another"))
        with pytest.raises(ValueError, match="the lock was lost to another process"):
            held()
    assert locks(store) == ["m.lock"]


def test_a_live_lock_taken_by_mistake_is_given_back(store):
    dead = lock.Holder(token("dead"), since=0)
    store.client.create_registered_model("m.lock", description=token("alive"))
    with store.locked("unrelated"):
        pass

    lock._break(store.client, "m.lock", dead)
    assert store.client.get_registered_model("m.lock").description == token("alive")


@pytest.mark.parametrize("description", ["", "my model", "host 1 2 boot/3 xyz"])
def test_a_model_of_the_locks_name_is_left_alone(store, monkeypatch, description):
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.0)
    store.client.create_registered_model("m.lock", description=description)
    with pytest.raises(InputError, match=r"a registered model has the name of its lock, 'm\.lock'"), store.locked("m"):
        pass
    assert store.client.get_registered_model("m.lock").description == description


def test_a_lock_with_a_version_is_a_model(store, monkeypatch):
    """Somebody registered a version under the name of a lock: before it was broken, or while it was held."""
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.0)
    store.client.create_registered_model("m.lock", description=token("dead"))
    store.client.create_model_version("m.lock", "/somewhere")
    with pytest.raises(InputError, match=r"a registered model has the name of its lock, 'm\.lock'"), store.locked("m"):
        pass
    lock._break(store.client, "m.lock", lock.Holder(token("dead"), since=0))
    assert [version.name for version in store.client.search_model_versions()] == ["m.lock"]
    with store.locked("n"):
        store.client.create_model_version("n.lock", "/somewhere")
    assert [version.name for version in store.client.search_model_versions("name = 'n.lock'")] == ["n.lock"]


def test_a_lock_that_is_released_while_it_is_looked_up_can_be_taken(store, monkeypatch):
    """MLflow looks up what is there already; deleted by then, it answers that there is none."""
    real, answers = type(store.client).create_registered_model, [RESOURCE_DOES_NOT_EXIST]

    def create(*arguments):
        if answers:
            raise MlflowException("gone", error_code=answers.pop())
        return real(*arguments)

    monkeypatch.setattr(type(store.client), "create_registered_model", create)
    with store.locked("m") as held:
        held()
    assert locks(store) == []


def test_a_lock_whose_creation_mlflow_repeats_is_held(store, monkeypatch):
    real = type(store.client).create_registered_model

    def create(*arguments):
        real(*arguments)
        return real(*arguments)

    monkeypatch.setattr(type(store.client), "create_registered_model", create)
    with store.locked("m") as held:
        held()
    assert locks(store) == []
