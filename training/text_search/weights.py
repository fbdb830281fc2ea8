"""How a search by text weighs an item's texts against what clicks taught: chosen at publishing, for the catalogue.

No log says what people search for, so queries are made of the items' own words, which no training has seen: a few
random words of an item should find it, even where one is misspelt.

Shape suffixes: Q queries, N catalogue positions with 0 among them, B queries of a block.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recsys.bundle import Bundle, TextWeights
from recsys.data import Int64
from recsys.metrics import Float64
from recsys.rankers import TextSearch
from recsys.text_queries import joined_texts

from .random_words import random_words

Float32 = npt.NDArray[np.float32]

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
MOST_QUERIES, CELLS = 1_000, 2 * 10**8  # fewer queries of a large catalogue: scores of queries times items
BLOCK_CELLS = 2 * 10**7
FEWEST_QUERIES = 20  # of fewer nothing can be learned
ROUNDING = 1e-6  # scores of equal texts differ by less


def choose_text_weights(bundle: Bundle, *, seed: int) -> TextWeights | None:
    """The weights by which random words of items find them best, by NDCG@10; texts alone, unless clicks clearly help.

    None for a model that reads no text, and a catalogue with hardly any.
    """
    if not any(transform.kind == "text" for transform in bundle.encoder.item_transforms):
        return None
    num_items = bundle.encoder.num_items
    rows, queries = random_words(
        joined_texts(bundle.encoder.item_transforms, bundle.items),
        min(MOST_QUERIES, max(100, CELLS // num_items)),
        seed=seed,
    )
    if len(queries) < FEWEST_QUERIES:
        return None
    search = TextSearch(bundle)
    block = max(1, BLOCK_CELLS // num_items)
    gains: dict[float, list[Float64]] = {share: [] for share in SHARES}
    for start in range(0, len(rows), block):
        by_text_BN, by_clicks_BN = search.opinions(queries[start : start + block])
        for share in SHARES:
            score_BN = (1 - share) * by_text_BN + share * by_clicks_BN
            gains[share].append(gain_of(score_BN[:, 1:], rows[start : start + block]))
    share = simplest({share: np.concatenate(parts) for share, parts in gains.items()})
    return TextWeights(clicks=share)


def gain_of(score_BN: Float32, row_B: Int64) -> Float64:
    """[B] NDCG@10 where each query wants one item; of equal scores half come first. score_BN: without position 0."""
    wanted_B1 = np.take_along_axis(score_BN, row_B[:, None], axis=1)
    above_B = (score_BN > wanted_B1 + ROUNDING).sum(axis=1)
    equal_B = (score_BN >= wanted_B1 - ROUNDING).sum(axis=1) - above_B - 1
    rank_B = above_B + equal_B / 2
    return np.where(rank_B < 10, 1 / np.log2(rank_B + 2), 0.0)


def simplest(gains: Mapping[float, Float64]) -> float:
    """The best weight, by one figure for each query; the first one where none is ahead of it by two standard errors."""
    first, *_ = gains
    best = max(gains, key=lambda weight: float(gains[weight].mean()))
    ahead = gains[best] - gains[first]
    return best if ahead.mean() > 2 * ahead.std() / np.sqrt(len(ahead)) else first
