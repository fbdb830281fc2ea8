"""The device a training runs on, and the switch that makes its results reproducible."""

import os

import torch

from recsys.errors import InputError


def choose_device(name: str) -> torch.device:
    """The device of ``training.device``: "auto" is a GPU if torch finds one, else the CPU.

    Raises InputError for "cuda" without a GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError('training.device = "cuda" but torch finds no GPU; use "auto" or "cpu"')
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def use_deterministic_algorithms() -> None:
    """Make the same seed give the same bits. Must be called before the first CUDA operation."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS refuses without it
    torch.use_deterministic_algorithms(True)
    # a debugging aid that writes every new tensor twice
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # untyped
