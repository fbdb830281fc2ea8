"""Exact candidates for many users at once, at nearly the speed of the matrix product that it takes.

A sample of the catalogue tells which score about F items exceed. A tile of scores never leaves the cache: only what
exceeds that score is picked out. No order of the catalogue can make an answer wrong, only slow.

Legend: B users, N items, S sampled items, D dimensions, F wanted candidates, T items of a tile, C candidates.
"""

import math

import numpy as np
import torch

from .codes import Int64
from .ranking import Float32

TILE_ITEMS, TILE_USERS = 512, 256  # half a megabyte of scores
SAMPLE_ITEMS = 4096
MOST = 16  # times F: a user whose sample misleads that much (an odd order, ties) is given none, to bound the memory


def sample(items_ND: Float32) -> Float32:
    """[S, D]: items at equal distances."""
    return np.ascontiguousarray(items_ND[:: _stride(len(items_ND))])


def exceeding(items_ND: Float32, sample_SD: Float32, users_BD: Float32, fetch: int) -> tuple[Int64, Float32, Float32]:
    """All items above a score that about ``fetch`` to twice as many exceed; more or fewer where the sample misleads.

    Returns rows [B, C] (-1 pads), float32 inner products [B, C] (-inf pads), in no promised order, and that score [B].
    """
    floor_B = _floor(sample_SD, users_BD, fetch / _stride(len(items_ND)))
    tile_BT = np.empty((len(users_BD), TILE_ITEMS), np.float32)
    rows, users, scores, num_found = [], [], [], 0
    for start in range(0, len(items_ND), TILE_ITEMS):
        part_TD = torch.from_numpy(items_ND[start : start + TILE_ITEMS])
        if len(part_TD) < TILE_ITEMS:
            tile_BT = np.empty((len(users_BD), len(part_TD)), np.float32)
        torch.mm(torch.from_numpy(users_BD), part_TD.T, out=torch.from_numpy(tile_BT))
        found = np.flatnonzero(tile_BT > floor_B[:, None])
        user, item = np.divmod(found, len(part_TD))
        users.append(user)
        rows.append(start + item)
        scores.append(tile_BT.ravel()[found])
        num_found += len(found)
        if num_found > MOST * fetch * len(users_BD):
            return np.empty((len(users_BD), 0), np.int64), np.empty((len(users_BD), 0), np.float32), floor_B
    user, row, score = np.concatenate(users), np.concatenate(rows), np.concatenate(scores)
    return *_by_user(user, row, score, len(users_BD), MOST * fetch), floor_B


def _stride(num_items: int) -> int:
    return max(2, num_items // SAMPLE_ITEMS)


def _floor(sample_SD: Float32, users_BD: Float32, expected: float) -> Float32:
    """[B]: a score that more than ``expected`` of the sample reach, by three standard deviations."""
    rank = min(len(sample_SD), math.ceil(expected + 3 * math.sqrt(expected) + 1))
    scores_BS = (torch.from_numpy(users_BD) @ torch.from_numpy(sample_SD).T).numpy()
    scores_BS.partition(len(sample_SD) - rank, axis=1)
    return scores_BS[:, len(sample_SD) - rank].copy()


def _by_user(user: Int64, row: Int64, scores: Float32, num_users: int, most: int) -> tuple[Int64, Float32]:
    """Rows and scores [B, C] of candidates in any order; none for a user of more than ``most``."""
    lengths = np.bincount(user, minlength=num_users)
    order = np.argsort(user, kind="stable")
    order = order[lengths[user[order]] <= most]
    lengths[lengths > most] = 0
    filled = np.arange(lengths.max(initial=0)) < lengths[:, None]
    rows_BC, scores_BC = np.full(filled.shape, -1), np.full(filled.shape, -np.inf, np.float32)
    rows_BC[filled], scores_BC[filled] = row[order], scores[order]
    return rows_BC, scores_BC
