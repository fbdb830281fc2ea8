"""Cold items get as much of the answers as people choose of them, as validation queries tell.

The score of a trained item says how often it was chosen, too. A cold item's is made of its metadata and of its
neighbours, which say nothing of whether a new item will be chosen at all, so that cold items come too often or too
rarely, all of them together. One number mends that: what is added to the score of every cold item.

Shape suffixes: Q queries, N catalogue positions with 0 among them, K ranks, V the width of a vector.
"""

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.data import Jagged
from recsys.metrics import Float64
from recsys.model import TwoTower

from ..validation import K, ValidationSet, best_among, ndcg_of, rank

DEPTH = 100  # answers whose share is looked at: as many as a later stage is usually given to choose from
FEWEST_TARGETS = 20  # cold ones, which tell the share to within a quarter
NEAR = (2 / 3, 4 / 3)  # of the share: as near as that few targets tell it
logger = logging.getLogger(__name__)


@torch.no_grad()
def give_share(
    model: TwoTower, encode: Callable[[], tuple[Tensor, Tensor]], queries: ValidationSet, wanted: Jagged
) -> tuple[Tensor, Tensor]:
    """Change the id embedding of the unknown item so that cold items get their share of the answers.

    The unknown item's id is part of the vector of each cold item, and of no other. What is added points to where the
    users are, as the mean of their vectors does, so that for a user all cold items' scores change by about the same.

    The model stays as it is where cold items have about their share already; where the share is unknown, because
    hardly a target is cold; where nothing is known of cold items, they have no id, or scores are cosines; and where the
    answers would clearly become worse.

    Args:
        model: to be changed; it gets an id table of its own.
        encode: by the model as it is then, [N, V] the catalogue and [Q, V] the users of the queries.
        queries: on which it is decided.
        wanted: the targets of all validation queries, of which these may be a part.

    Returns:
        What ``encode`` does in the end.
    """
    spec, before = model.spec, encode()
    is_cold = wanted.values >= spec.num_rows
    if is_cold.sum() < FEWEST_TARGETS or spec.similarity != "dot" or not spec.item_transforms or spec.id_dropout == 1:
        return before
    added_V = shift_of(before, spec.num_rows, queries.history, float(is_cold.mean()))
    if added_V is None:
        return before
    table = model.item_tower.ids.embeddings["item"]
    as_trained = table.weight
    weight = as_trained.clone()  # the training's own stays as it is
    weight[0] += added_V * math.sqrt(spec.num_members)
    table.weight = nn.Parameter(weight, requires_grad=False)
    after = encode()
    if is_clearly_worse(*(ndcg(items, users, queries) for items, users in (before, after))):
        logger.info("cold items are recommended as they are: their share of the answers would cost too many others")
        table.weight = as_trained
        return before
    return after


def shift_of(encoded: tuple[Tensor, Tensor], num_rows: int, history: Jagged, share: float) -> Tensor | None:
    """What to add to the vectors of cold items, [V]; None where they have about their share, or no number gives it.

    num_rows: the position of the first cold item.
    """
    items_NV, users_QV = encoded
    warm_QK, cold_QK = (
        best_among(users_QV, items_NV[first:last], first, history, DEPTH)[0]
        for first, last in ((0, num_rows), (num_rows, len(items_NV)))
    )
    if NEAR[0] * share <= share_of_cold(warm_QK, cold_QK) <= NEAR[1] * share:
        return None
    mean_V = users_QV.mean(dim=0)
    direction_V = mean_V / mean_V.square().sum()
    number = number_for(warm_QK, cold_QK, users_QV @ direction_V, share)
    return direction_V * number if math.isfinite(number) else None


def ndcg(items_NV: Tensor, users_QV: Tensor, queries: ValidationSet) -> Float64:
    """[Q] NDCG@10."""
    return ndcg_of(rank(users_QV, items_NV, queries.history, K), queries)


def is_clearly_worse(before_Q: Float64, after_Q: Float64) -> bool:
    """Whether the mean has fallen by more than two standard errors of the difference."""
    change_Q = after_Q - before_Q
    return bool(change_Q.mean() < -2 * change_Q.std() / math.sqrt(len(change_Q)))


def share_of_cold(warm_QK: Tensor, cold_QK: Tensor) -> float:
    """The share of cold items of the best DEPTH of all queries. Arguments: as for ``number_for``."""
    warm_QK, cold_QK = (F.pad(kind, (0, DEPTH - kind.shape[1]), value=-torch.inf) for kind in (warm_QK, cold_QK))
    return float((cold_QK > warm_QK.flip(1)).float().mean())


def number_for(warm_QK: Tensor, cold_QK: Tensor, gain_Q: Tensor, share: float) -> float:
    """The number that, times the gain of each query, makes cold items ``share`` of the best DEPTH of all queries.

    warm_QK, cold_QK: the highest scores of both kinds, descending. The cold item of rank j is among the best DEPTH if
    it is ahead of the warm item of rank DEPTH - 1 - j, which says for each of them from which number on it is.
    """
    warm_QK, cold_QK = (F.pad(kind, (0, DEPTH - kind.shape[1]), value=-torch.inf) for kind in (warm_QK, cold_QK))
    enters_QK = (warm_QK.flip(1) - cold_QK) / gain_Q[:, None]
    enters_QK[gain_Q <= 0] = torch.inf  # nothing to add brings them cold items
    enters = enters_QK.nan_to_num(torch.inf, torch.inf, -torch.inf).flatten()
    return float(enters.kthvalue(max(1, round(share * len(enters)))).values)
