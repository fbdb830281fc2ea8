"""Exact candidates for many users at once, at nearly the speed of the matrix product that it takes.

A tile of scores never leaves the cache: only the maximum of every block of items is kept. The F blocks with the highest
maxima hold the F best items, so only these are scored again. Legend: B users, N items, D dimensions, F fetched
candidates, M blocks, C items of the chosen blocks.
"""

import numpy as np
import torch
from torch import Tensor

from .history import Int64
from .ranking import Float32

TILE_ITEMS, TILE_USERS = 1024, 256  # 1 MB of scores


def block_items(num_items: int) -> int:
    """Small blocks make less to score again, large ones fewer maxima to choose from."""
    return 8 if num_items < 500_000 else 16


@torch.no_grad()
def best(items_ND: Float32, users_BD: Float32, fetch: int) -> tuple[Int64, Float32]:
    """The ``fetch`` items with the highest inner products, at most N: rows and scores [B, F], in no promised order.

    Near ties may be told apart by rounding.
    """
    rows_BF, scores_BF = np.empty((len(users_BD), fetch), np.int64), np.empty((len(users_BD), fetch), np.float32)
    for start in range(0, len(users_BD), TILE_USERS):
        part = slice(start, start + TILE_USERS)
        rows_BF[part], scores_BF[part] = _best(torch.from_numpy(items_ND), torch.from_numpy(users_BD[part]), fetch)
    return rows_BF, scores_BF


def _best(items_ND: Tensor, users_BD: Tensor, fetch: int) -> tuple[Int64, Float32]:
    size, dim = block_items(len(items_ND)), items_ND.shape[1]
    whole = len(items_ND) // size * size
    blocks_MX = items_ND[:whole].view(-1, size * dim)
    chosen_BM = _largest(_maxima(items_ND[:whole], users_BD, size).T.contiguous().numpy(), min(fetch, len(blocks_MX)))
    scores_BC = torch.empty(len(users_BD), chosen_BM.shape[1] * size)
    for user_D, chosen_M, scores_C in zip(users_BD, torch.from_numpy(chosen_BM), scores_BC, strict=True):
        torch.mv(blocks_MX.index_select(0, chosen_M).view(-1, dim), user_D, out=scores_C)
    rows_BC = (chosen_BM[:, :, None] * size + np.arange(size)).reshape(scores_BC.shape)
    rest_C = np.arange(whole, len(items_ND))  # too few for a block
    rows_BC = np.concatenate([rows_BC, np.broadcast_to(rest_C, (len(users_BD), len(rest_C)))], axis=1)
    scores = np.concatenate([scores_BC.numpy(), (users_BD @ items_ND[whole:].T).numpy()], axis=1)
    top_BF = _largest(scores, fetch)
    return np.take_along_axis(rows_BC, top_BF, axis=1), np.take_along_axis(scores, top_BF, axis=1)


def _maxima(items_ND: Tensor, users_BD: Tensor, size: int) -> Tensor:
    """[M, B]: the highest score in each block of ``size`` items."""
    maxima_MB = torch.empty(len(items_ND) // size, len(users_BD))
    tile_NB, users_DB = torch.empty(min(TILE_ITEMS, len(items_ND)), len(users_BD)), users_BD.T.contiguous()
    for start in range(0, len(items_ND), TILE_ITEMS):
        part_ND = items_ND[start : start + TILE_ITEMS]
        scores_NB = torch.mm(part_ND, users_DB, out=tile_NB[: len(part_ND)])
        blocks = slice(start // size, (start + len(part_ND)) // size)
        torch.amax(scores_NB.view(-1, size, len(users_BD)), dim=1, out=maxima_MB[blocks])
    return maxima_MB


def _largest(values: Float32, count: int) -> Int64:
    """Columns of the ``count`` largest values of each row, in no promised order; far faster than torch.topk."""
    return np.argpartition(values, values.shape[1] - count, axis=1)[:, values.shape[1] - count :]
