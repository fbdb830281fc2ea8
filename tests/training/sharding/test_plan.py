"""Plans for imaginary GPUs: what the planner is told, and that what it accepts fits."""

import weakref
from dataclasses import replace

import pytest
import torch

from recsys.errors import InputError
from recsys.model.two_tower import TwoTower
from tests.small_trainings import SPEC
from training.sharding import plan
from training.sharding.plan import GIB, Processes, TableOptimizer, make_plan, shares
from training.sharding.processes import ALONE

ADAM = TableOptimizer("adamw", 1e-3, 0.0, averaged=True)
ADAGRAD = replace(ADAM, name="rowwise_adagrad")
LARGE = replace(SPEC, num_rows=100_000_000, embedding_dim=128)
WEIGHTS = 100_000_000 * 128 * 4


def gpus(number, gib, host_gib=64):
    return Processes(number, number, "cuda", gib * GIB, host_gib * GIB)


def plan_of(processes, optimizer, spec=LARGE, lookups=8192):
    return make_plan(TwoTower(spec, torchrec=True), optimizer, processes, lookups)


def table(made):
    return made.plan["item_tower.ids"]["item"]


@pytest.mark.parametrize(("number", "gib"), [(2, 141), (4, 80), (8, 32)])
@pytest.mark.parametrize("optimizer", [ADAM, ADAGRAD])
def test_a_table_of_100_million_rows_fits_with_all_that_is_kept_for_it(number, gib, optimizer):
    made = plan_of(gpus(number, gib), optimizer)
    parts = shares(made, optimizer, number)
    assert sum(part.weights for part in parts) == WEIGHTS
    assert sum(part.average for part in parts) == WEIGHTS + 100_000_000 * 4
    assert sum(part.optimizer for part in parts) == (2 * WEIGHTS if optimizer is ADAM else 100_000_000 * 4)
    assert all(part.device < 0.9 * gib * GIB and part.host == 0 for part in parts)
    assert sum(shard.shard_sizes[0] * shard.shard_sizes[1] for shard in table(made).sharding_spec.shards) * 4 == WEIGHTS


def test_what_the_planner_alone_would_accept_is_refused_before_anything_is_allocated():
    with pytest.raises(InputError, match=r"need 191\.1 GiB \(weights 47\.7, optimizer 95\.4, running average 48\.1\)"):
        plan_of(gpus(2, 80), ADAM)  # 47.7 of weights would fit into 160
    remedies = "; train in more processes, .*average_decay = 0, .*lets tables overflow into main memory$"
    with pytest.raises(InputError, match=r"among 2 process\(es\) with 71.0 GiB each .*" + remedies):
        plan_of(gpus(2, 80), ADAM)


def test_without_an_average_a_table_may_stay_in_main_memory_behind_a_cache():
    plain = replace(ADAM, averaged=False)
    with pytest.raises(InputError, match="rowwise_adagrad"):
        plan_of(gpus(2, 40), plain)  # 72 GiB for each
    made = plan_of(gpus(2, 40, host_gib=100), plain)
    assert table(made).compute_kernel == "fused_uvm_caching"
    for part in shares(made, plain, 2):
        assert part.host == part.weights + part.optimizer
        assert part.device == part.cache == pytest.approx(0.1 * WEIGHTS)
    rowwise = replace(ADAGRAD, averaged=False)
    made = plan_of(gpus(2, 20, host_gib=100), rowwise)
    assert all(part.device == part.cache + part.optimizer for part in shares(made, rowwise, 2))


def test_adagrad_s_tables_are_never_cut_into_columns(monkeypatch):
    seen = {}
    real = plan._constraints

    def constraints(*arguments):
        seen[arguments[1].name] = real(*arguments)
        return seen[arguments[1].name]

    monkeypatch.setattr(plan, "_constraints", constraints)
    for optimizer in (ADAM, ADAGRAD):
        plan_of(gpus(2, 141), optimizer)
    assert "column_wise" in seen["adamw"]["item"].sharding_types
    assert "column_wise" not in seen["rowwise_adagrad"]["item"].sharding_types


def test_small_processes_on_the_cpu_share_a_table_that_one_could_not_hold():
    spec = replace(SPEC, num_rows=16_000_000, embedding_dim=64)
    with pytest.raises(InputError, match=r"among 1 process.* on cpu; "):
        plan_of(Processes(1, 1, "cpu", 7 * GIB, 7 * GIB), ADAGRAD, spec)
    made = plan_of(Processes(2, 2, "cpu", 7 * GIB, 7 * GIB), ADAGRAD, spec)
    assert [part.shards for part in shares(made, ADAGRAD, 2)] == [1, 1]


def test_the_limit_counts_if_less_is_free_and_processes_share_main_memory(monkeypatch):
    monkeypatch.setattr(plan, "available", lambda device: (24 if device.type == "cpu" else 80) * GIB)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 1)
    assert Processes.of(ALONE, cpu, None) == Processes(1, 2, "cpu", 12 * GIB, 12 * GIB)
    assert Processes.of(ALONE, cpu, 3.5).memory == int(3.5 * GIB)
    assert Processes.of(ALONE, gpu, None) == Processes(1, 2, "cuda", 80 * GIB, 12 * GIB)
    assert Processes.of(ALONE, gpu, 100).memory == 80 * GIB


def test_an_earlier_model_is_gone_before_memory_is_counted(monkeypatch):
    class Model:
        def __init__(self):
            self.itself = self

    freed, model = [], Model()
    alive = weakref.ref(model)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(alive()))
    monkeypatch.setattr(plan, "available", lambda device: GIB)
    del model
    Processes.of(ALONE, torch.device("cuda", 0), None)
    assert freed == [None]


def test_the_fused_optimizers_get_their_settings():
    adam = replace(ADAM, weight_decay=0.3).fused_settings()
    assert (adam["learning_rate"], adam["weight_decay"], adam["eps"]) == (1e-3, 0.3, 1e-8)
    assert ADAGRAD.fused_settings()["learning_rate"] == pytest.approx(0.02)
