import threading
from contextlib import closing

import pytest
import torch

from tests.pretend_device import PretendDevice
from tests.training.batches.test_loader import flat, make
from training.batches.prefetch import steps_on


@pytest.fixture
def pretend():
    with PretendDevice() as pretend:
        yield pretend


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_a_device_gets_the_same_steps_in_the_same_order_by_one_copy_each(pretend):
    epoch = make().epoch(1)
    expected = list(epoch)
    assert len(expected) > 3
    for step, other in zip(steps_on(pretend.device, epoch), expected, strict=True):
        assert step.labels.device == step.batch.rows.device == pretend.device
        assert sum(pretend.copies.values()) == 1
        assert not pretend.waits
        assert flat(step) == flat(other)
        assert step.log_expected.dtype == torch.float32
        assert step.seed == other.seed
        pretend.reset()
    assert not threads()


def test_the_cpu_gets_its_steps_without_a_thread():
    steps = steps_on(torch.device("cpu"), make().epoch(1))
    assert flat(next(steps)) == flat(next(iter(make().epoch(1))))
    assert not threads()


def test_a_loop_that_stops_early_leaves_no_thread(pretend):
    with closing(steps_on(pretend.device, make().epoch(1))) as steps:
        next(steps)
        assert threads()
    assert not threads()


def test_an_error_while_assembling_is_raised_in_turn_with_its_own_traceback(pretend, monkeypatch):
    epoch = make().epoch(1)
    broken = epoch.batches[2]
    assemble = type(epoch.loader).assemble

    def failing(self, users, generator):
        if users is broken:
            raise ZeroDivisionError("of this batch")
        return assemble(self, users, generator)

    monkeypatch.setattr(type(epoch.loader), "assemble", failing)
    steps = steps_on(pretend.device, epoch)
    next(steps), next(steps)
    with pytest.raises(ZeroDivisionError, match="of this batch") as error:
        next(steps)
    assert "failing" in [entry.name for entry in error.traceback]
    assert not threads()
