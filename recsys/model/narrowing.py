"""Fewer numbers in every vector, without a training: those in which the items differ most.

The members of an ensemble learn the same log, and not every direction of their vectors side by side tells items apart.
A rotation of items and users changes no inner product, so vectors may be rotated until the first coordinates hold the
most variance of the items (their principal directions), and the last ones may go. It is one rotation of all members
together: what two members agree on is kept once (docs/LOG.md compares it with others, and with a training for it).

Shape suffixes: N catalogue positions with 0 among them, V the width of a vector, S its width as it serves.
"""

from dataclasses import replace

import torch
from torch import Tensor

from .trained_metadata import ITEMS_AT_ONCE
from .two_tower import TwoTower


def narrowed(model: TwoTower, items_NV: Tensor, dimensions: int) -> tuple[TwoTower, Tensor]:
    """A model that shares the weights and returns vectors of ``dimensions`` numbers, and the items' vectors [N, S].

    Args:
        model: in evaluation mode, and whole.
        items_NV: the items' vectors by catalogue position, as ``encode_catalogue`` returns them.
        dimensions: at most the width.
    """
    with torch.device("meta"):
        narrow = TwoTower(replace(model.spec, dimensions=dimensions))
    basis_VS = principal_directions(items_NV[1:], dimensions).to(model.log_temperature.dtype)
    narrow.load_state_dict(model.state_dict() | {"basis": basis_VS}, assign=True)
    narrow.eval().requires_grad_(False)
    return narrow, torch.cat([narrow.cut(chunk) for chunk in torch.split(items_NV, ITEMS_AT_ONCE)])


def principal_directions(items_MV: Tensor, count: int) -> Tensor:
    """The orthonormal directions of the largest sums of squares, from the largest on, [V, count] float64.

    Squares, not variances: the common part of all items' vectors tells items apart by nothing, but serves as history.
    """
    second_moments_VV = items_MV.new_zeros(items_MV.shape[1], items_MV.shape[1], dtype=torch.float64)
    for chunk in torch.split(items_MV, ITEMS_AT_ONCE):
        second_moments_VV += chunk.double().mT @ chunk.double()
    directions_VC: Tensor = torch.linalg.eigh(second_moments_VV).eigenvectors.flip(1)[:, :count]
    largest = directions_VC.abs().argmax(dim=0, keepdim=True)
    return directions_VC * directions_VC.gather(0, largest).sign()  # an eigenvector's sign is anyone's choice
