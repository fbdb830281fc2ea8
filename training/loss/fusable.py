"""Whether the kernels of training/loss/fused.py can compute a loss. Needs no Triton."""

import importlib.util
import logging
import os
import shutil
import sysconfig
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

LARGEST_DIM = 256  # a block of gradients is held in registers


def is_fusable(users_KTD: Tensor, num_negatives: int) -> bool:
    """Whether the kernels can compute the loss of these users. If not, though they are on a GPU, one warning says why.

    Args:
        users_KTD: [K, T, D], the user vector at each token.
        num_negatives: N, the length of the pool.
    """
    if not users_KTD.is_cuda:
        return False
    reason = refusal(users_KTD, num_negatives, torch.cuda.get_device_capability(users_KTD.device))
    if reason is not None:
        _warn_once(reason)
    return reason is None


def refusal(users_KTD: Tensor, num_negatives: int, capability: tuple[int, int]) -> str | None:
    """Why a GPU of this compute capability does not run the kernels on these users, or None if it does."""
    _, num_tokens, dim = users_KTD.shape
    if (missing := missing_tool()) is not None:
        return missing
    if capability < (8, 0):
        return f"this GPU has compute capability {capability[0]}.{capability[1]}; bf16 products need 8.0 or more"
    if users_KTD.dtype != torch.float32:
        return f"the vectors are {users_KTD.dtype}; the kernels take torch.float32"
    if dim > LARGEST_DIM:
        return f"model.embedding_dim is {dim}; the kernels take at most {LARGEST_DIM}"
    # the kernels' 32-bit offsets: into one member's vectors, padded, and into the bits of the masked items
    if max(num_tokens, num_negatives) * LARGEST_DIM >= 2**31 or num_tokens * num_negatives >= 2**35:
        return f"{num_tokens} tokens and {num_negatives} negatives are too many; use smaller batches"
    return None


@cache
def missing_tool() -> str | None:
    """What Triton lacks on this machine. It compiles its launcher in C when it starts for the first time."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; run: pip install triton"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "triton finds no C compiler; install gcc, or name another one in the environment variable CC"
    if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        return "triton finds no Python.h; install the headers of this Python, for example python3-dev"
    return None


@cache
def _warn_once(reason: str) -> None:
    logger.warning("the loss is not fused, which makes it several times slower: %s", reason)
