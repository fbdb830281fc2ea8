"""How processes find one another, and what they tell each other."""

import time
from pathlib import Path

import pytest
import torch

from recsys.errors import InputError
from training.sharding import processes
from training.sharding.processes import ALONE, process_group

CPU = torch.device("cpu")


def test_adamw_is_not_sharded_in_one_process_and_refused_in_several(monkeypatch):
    with process_group("adamw", CPU) as world:
        assert world == ALONE
        assert world.broadcast(lambda: 3) == 3
        assert world.gather(3) == [3]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="table_optimizer"), process_group("adamw", CPU):
        pass


def test_a_gpu_s_process_takes_its_own_gpu_and_talks_through_gloo(monkeypatch):
    calls = {}
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.update(device=device))
    monkeypatch.setattr(processes.dist, "init_process_group", lambda **settings: calls.update(settings))
    monkeypatch.setattr(processes.dist, "get_rank", lambda: 3)
    monkeypatch.setattr(processes.dist, "destroy_process_group", lambda: calls.update(destroyed=True))
    monkeypatch.setenv("WORLD_SIZE", "4")
    with process_group("adamw", torch.device("cuda", 3)) as world:
        assert (world.rank, world.size, world.sharded) == (3, 4, True)
    assert calls["device"] == calls["device_id"] == torch.device("cuda", 3)
    assert calls["backend"] == "cpu:gloo,cuda:nccl"
    assert calls["timeout"].total_seconds() >= 3600
    assert calls["destroyed"]


def test_no_thread_of_the_group_outlives_it_even_if_the_model_refers_to_itself():
    before = num_gloo_threads()  # of other tests
    with process_group("rowwise_adagrad", CPU):
        model = {"group": torch.distributed.group.WORLD}
        model["model"] = model
        del model
        assert eventually(lambda: num_gloo_threads() > before)
    assert eventually(lambda: num_gloo_threads() == before)


def eventually(is_true):
    """Whether something becomes true soon: threads take a moment to name themselves, and to end."""
    until = time.monotonic() + 10
    while not is_true() and time.monotonic() < until:
        time.sleep(0.005)
    return is_true()


def num_gloo_threads():
    names = [(thread / "comm").read_text().strip() for thread in Path("/proc/self/task").iterdir()]
    return names.count("pt_gloo_runloop")
