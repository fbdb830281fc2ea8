from dataclasses import replace

import pytest
import torch

from recsys.errors import InputError
from tests.small_trainings import SPEC
from training import memory

CPU = torch.device("cpu")
MILLIONS = replace(SPEC, num_rows=10_000_001, embedding_dim=64)


def test_a_table_is_held_four_times_and_its_items_once_more():
    table = 10_000_001 * 64 * 4
    assert memory.needed(MILLIONS, 10_000_000) == pytest.approx(5 * table + 10_000_001 * 4 + memory.WORKING)
    assert memory.needed(replace(MILLIONS, num_members=2), 10_000_000) > 2 * 5 * table


def test_a_training_that_cannot_fit_is_refused_with_both_figures(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 8 * 2**30)
    memory.require_memory(SPEC, 5, CPU)
    memory.require_memory(SPEC, 5, CPU, 2.0)
    with pytest.raises(InputError, match=r"needs about 1\.0 GiB and 0\.5 GiB are free"):
        memory.require_memory(SPEC, 5, CPU, 0.5)
    with pytest.raises(InputError, match=r"needs about 13\.0 GiB and 8\.0 GiB are free on cpu; lower model\."):
        memory.require_memory(MILLIONS, 10_000_000, CPU)
