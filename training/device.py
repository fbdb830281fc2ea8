"""The device a training runs on, and the switch that makes its results reproducible."""

import os

import torch

from recsys.errors import InputError


def choose_device(name: str) -> torch.device:
    """The device of ``training.device``: "auto" is a GPU if torch finds one, else the CPU.

    Of the processes that torchrun starts on a machine, each takes the GPU of its own number (``LOCAL_RANK``).

    Raises InputError for "cuda" without a GPU, and if a machine has fewer GPUs than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError('training.device = "cuda" but torch finds no GPU; use "auto" or "cpu"')
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if "LOCAL_RANK" not in os.environ:
        return torch.device("cuda")
    rank, num_gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    num_processes = max(rank + 1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if num_processes > num_gpus:
        raise InputError(
            f"torchrun started {num_processes} processes on this machine, and torch finds {num_gpus} GPUs; expected "
            f'one for each process: use --nproc-per-node {num_gpus}, or training.device = "cpu"'
        )
    return torch.device("cuda", rank)


def use_deterministic_algorithms() -> None:
    """Make the same seed give the same bits. Must be called before the first CUDA operation."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS refuses without it
    torch.use_deterministic_algorithms(True)
    # a debugging aid that writes every new tensor twice
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # untyped
