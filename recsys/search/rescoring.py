"""Exact scores of candidates, and one order for scores and ties: by NumPy on the CPU, by torch on a GPU.

Legend: B users, N items, D dimensions, C candidates, K answers, P (user, item) pairs. Position 0 is padding.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data import Int32, Int64
from .vectors import Float32

FLOAT32_ERROR = 1e-5  # of an inner product in float32, relative to |user| * the largest |item|
FLOAT32_TINY = float(np.finfo(np.float32).tiny)  # smaller numbers lose digits, or become 0
RESCORE_VALUES = 2**16  # float64 values gathered at once: half a megabyte stays in the cache


def padding(num_users: int, k: int) -> tuple[Int32, Float32]:
    """Positions 0 and scores -inf, [B, K]: answers that hold nothing."""
    return np.zeros((num_users, k), np.int32), np.full((num_users, k), -np.inf, np.float32)


def top_k(vectors_ND: Float32, users_BD: Float32, positions_BC: Int64, k: int) -> tuple[Int32, Float32]:
    """The ``k`` best candidates by exact score, or all where there are fewer: positions and scores [B, min(k, C)].

    Sorted by score descending, then position ascending; padding comes last, with score -inf.
    """
    scores_BC = rescore(vectors_ND, users_BD, positions_BC)
    keys_BC = sort_keys(np.where(positions_BC > 0, scores_BC, np.float32(-np.inf)), positions_BC)
    k = min(k, keys_BC.shape[1])
    if k < keys_BC.shape[1]:
        keys_BC.partition(k - 1, axis=1)
    return from_sort_keys(np.sort(keys_BC[:, :k], axis=1))


def rescore(vectors_ND: Float32, users_BD: Float32, positions_BC: Int64) -> Float32:
    """Inner products [B, C], each a float64 dot product of its own, so that no grouping of users can change a bit."""
    scores_BC = np.empty(positions_BC.shape, np.float32)
    exact_users_BD = users_BD.astype(np.float64)
    num_pairs = max(1, RESCORE_VALUES // vectors_ND.shape[1])
    for user in range(0, len(users_BD), step := max(1, num_pairs // positions_BC.shape[1])):
        for start in range(0, positions_BC.shape[1], num_pairs):
            part = slice(user, user + step), slice(start, start + num_pairs)
            items_PD = vectors_ND[positions_BC[part]].astype(np.float64)
            scores_BC[part] = np.vecdot(items_PD, exact_users_BD[part[0], None])
    return scores_BC


def sort_keys(scores_BC: Float32, positions_BC: Int64) -> Int64:
    """One int64 per candidate that sorts by score descending, then position ascending; (-inf, 0) comes last."""
    bits_BC = (scores_BC + np.float32(0)).view(np.int32)  # adding 0 turns -0.0 into 0.0, its equal
    return (~order_preserving(bits_BC)).astype(np.int64) << 32 | positions_BC


def from_sort_keys(keys_BK: Int64) -> tuple[Int32, Float32]:
    """Positions and scores back from ``sort_keys``."""
    bits_BK = order_preserving(~(keys_BK >> 32).astype(np.int32))
    return (keys_BK & 0x7FFFFFFF).astype(np.int32), bits_BK.view(np.float32)


def order_preserving(bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Integers that sort as the floats with these bits do; applied again, the bits.

    Below zero all bits but the sign are flipped, since there a float's bits grow as the float falls.
    """
    ordered: npt.NDArray[Any] = bits ^ ((bits >> (8 * bits.itemsize - 1)) & np.iinfo(bits.dtype).max)
    return ordered


def exact_scores(items_ND: Tensor, users_BD: Tensor, positions_BC: Tensor, max_bytes: int) -> Tensor:
    """``rescore`` on the tensors' device. users_BD: float64. max_bytes: of the products that are held at a time.

    The products are exact, and their sum is a tree of additions written out here, so that it depends neither on the
    device nor on who else is in the batch, as the order of a library's sum may.
    """
    step = max(1, max_bytes // (8 * users_BD.shape[1] * positions_BC.shape[1]))
    parts = []
    for part_BD, part_BC in zip(torch.split(users_BD, step), torch.split(positions_BC, step), strict=True):
        terms = items_ND[part_BC].double() * part_BD.unsqueeze(1)
        while (width := terms.shape[-1]) > 1:
            half = width // 2
            pairs = terms[..., :half] + terms[..., half : 2 * half]
            terms = torch.cat([pairs, terms[..., 2 * half :]], dim=-1) if width % 2 else pairs
        parts.append(terms.squeeze(-1).float())
    return torch.cat(parts)


def packed_keys(scores_BC: Tensor, positions_BC: Tensor) -> Tensor:
    """``sort_keys`` of tensors."""
    bits_BC = (scores_BC + 0.0).view(torch.int32)
    return (~_order_preserving(bits_BC)).long() << 32 | positions_BC


def unpacked(keys_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Positions and the bits of scores, int32, back from ``packed_keys``."""
    return (keys_BK & 0x7FFFFFFF).int(), _order_preserving(~(keys_BK >> 32).int())


def _order_preserving(bits: Tensor) -> Tensor:
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


LAST_KEY = int(sort_keys(padding(1, 1)[1], np.zeros((1, 1), np.int64))[0, 0])  # of padding: position 0, score -inf
