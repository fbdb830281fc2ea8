"""How much memory a training needs, computed before it starts, and how much there is."""

import torch

from recsys.errors import InputError
from recsys.memory import free_memory
from recsys.model import ModelSpec

COPIES = 4  # of every embedding table: weights, two moments and the running average
FLOAT32, INT32 = 4, 4  # bytes
WORKING = 1 << 30  # bytes for activations, scores and libraries


def needed(spec: ModelSpec, num_items: int) -> int:
    """Bytes that training a model holds at its peak, which is during validation.

    Args:
        spec: Of the model. Of its weights only the tables are counted, since nothing else grows with the data.
        num_items: How many items validation compares, trained and cold ones.
    """
    bags = [transform.size for transform in spec.item_transforms + spec.own_user_transforms if transform.is_bag]
    tables = (spec.num_rows + sum(bags)) * (COPIES * FLOAT32 * spec.width + INT32)
    return tables + (num_items + 1) * FLOAT32 * spec.width + WORKING


def available(device: torch.device) -> int:
    """Bytes that this process can still get on a device; of main memory, no more than its container allows."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory()


def require_memory(spec: ModelSpec, num_items: int, device: torch.device, limit: float | None = None) -> None:
    """Raise InputError if a training does not fit: now, rather than after hours. limit: ``training.memory``."""
    need, free = needed(spec, num_items), available(device)
    free = free if limit is None else min(free, int(limit * 2**30))
    if need > free:
        raise InputError(
            f"training needs about {need / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free on {device.type}; lower "
            "model.num_members or model.embedding_dim, raise data.min_item_events, or train in several processes "
            "(torchrun)"
        )
