import pytest
import torch

from recsys.errors import InputError
from training.device import choose_device


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused():
    with pytest.raises(ValueError, match='device = "cuda" but torch finds no GPU; use "auto" or "cpu"'):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


@pytest.mark.gpu
def test_with_a_gpu_auto_is_the_gpu():
    assert choose_device("auto").type == choose_device("cuda").type == "cuda"
    assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize(("rank", "expected"), [(None, "cuda"), (0, "cuda:0"), (3, "cuda:3")])
def test_each_process_of_a_machine_takes_the_gpu_of_its_number(monkeypatch, rank, expected):
    pretend_gpus(monkeypatch, 4, rank)
    assert choose_device("auto") == choose_device("cuda") == torch.device(expected)
    assert choose_device("cpu") == torch.device("cpu")


def test_more_processes_than_gpus_are_one_clear_error_in_all_of_them(monkeypatch):
    for rank in range(3):
        pretend_gpus(monkeypatch, 2, rank, processes=3)
        with pytest.raises(InputError, match=r"started 3 processes on this machine, and torch finds 2 GPUs; .* 2, or"):
            choose_device("auto")


def pretend_gpus(monkeypatch, number, rank, processes=4):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
    for name, value in (("LOCAL_RANK", rank), ("LOCAL_WORLD_SIZE", processes)):
        monkeypatch.delenv(name, raising=False)
        if rank is not None:
            monkeypatch.setenv(name, str(value))
