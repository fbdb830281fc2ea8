"""Bundles of format 6, which registries still hold: they had a tower for each member of the ensemble.

Today's towers compute all members as one product, and their weights lie together: side by side in the columns of an
embedding table, one below the other in the rows of a dense layer, in a dimension of their own elsewhere.
"""

from collections.abc import Callable

import torch
from torch import Tensor

State = dict[str, Tensor]


def apart(weights: State, num_members: int) -> State:
    """A model's weights as format 6 named and shaped them. Tensors on torch's "meta" device will do."""
    parts: State = {}
    for name, weight in weights.items():
        for former, part in zip(_former_names(name, num_members), _split(name)(weight, num_members), strict=True):
            parts[former] = part
    return parts


def together(parts: State, names: list[str], num_members: int) -> State:
    """The inverse of ``apart``, for the weights of these names."""
    return {name: _join(name)([parts[former] for former in _former_names(name, num_members)]) for name in names}


def _former_names(name: str, num_members: int) -> list[str]:
    tower, _, rest = name.partition(".")
    return [f"{tower}s.{member}.{rest}" for member in range(num_members)] if rest else [name]


def _split(name: str) -> Callable[[Tensor, int], tuple[Tensor, ...]]:
    if "." not in name:
        return lambda weight, _: (weight,)
    if ".embedding" in name:
        return lambda weight, num_members: weight.chunk(num_members, dim=1)
    if ".dense." in name or ".text_maps." in name:
        return lambda weight, num_members: weight.chunk(num_members)
    return lambda weight, _: weight.unbind()


def _join(name: str) -> Callable[[list[Tensor]], Tensor]:
    if "." not in name:
        return lambda parts: parts[0]
    if ".embedding" in name:
        return lambda parts: torch.cat(parts, dim=1)
    if ".dense." in name or ".text_maps." in name:
        return torch.cat
    return torch.stack
