"""How a search by text weighs texts, clicks and words: chosen at publishing, for the catalogue.

Hardly any log says what people search for. Where it does not, queries are made of the items' own words, which no
training has seen: a few random words of an item should find it, even where one is misspelt. Where the data are pairs,
whose users have a text and no history, the validation queries are asked: both as a search, and as users who are
recommended to.

Shape suffixes: Q queries, N catalogue positions with 0 among them, B queries of a block, P pairs of query and target,
D the width of a vector.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.bundle import Bundle, TextWeights
from recsys.data import Int64, Jagged, encode_lists, joined_texts, lookup_user_rows
from recsys.lexical import fused, moments, z_scores
from recsys.metrics import Float64
from recsys.rankers import TextSearch, TwoTowerRanker

from ..validation import best_setting, wants_unseen
from .random_words import random_words

Float32 = npt.NDArray[np.float32]
Scored = Callable[[float], npt.NDArray[np.floating]]  # from a weight to [B, N] scores

CLICKS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
WORDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MOST_QUERIES, CELLS = 1_000, 2 * 10**8  # fewer queries of a large catalogue: scores of queries times items
BLOCK_CELLS = 2 * 10**7
FEWEST_QUERIES = 20  # of fewer nothing can be learned
ROUNDING = 1e-6  # scores of equal texts differ by less


@dataclass(frozen=True)
class TextQueries:
    """Texts and what they should find. targets: [Q] catalogue positions. user_rows: [Q] where users ask, else None."""

    texts: Sequence[str]
    targets: Jagged
    user_rows: Int64 | None = None

    def blocks(self, num_items: int) -> Iterator[Int64]:
        """Rows of queries, few enough that a block's scores of all items fit in memory."""
        yield from np.array_split(np.arange(len(self.texts)), -(-len(self.texts) * num_items // BLOCK_CELLS))


def choose_text_weights(bundle: Bundle, validation: pl.DataFrame, *, seed: int) -> TextWeights | None:
    """The weights with the best NDCG@10; texts alone, unless clicks or words clearly help.

    None for a model that reads no text, and a catalogue with hardly any.

    validation: the queries for it: user_id, history and targets.
    """
    if bundle.lexical is None:
        return None
    most = min(MOST_QUERIES, max(100, CELLS // bundle.encoder.num_items))
    of_users = queries_of_users(bundle, validation, most)
    asked = of_users or queries_of_words(bundle, most, seed=seed)
    if asked is None:
        return None
    search = TextSearch(bundle)

    def with_clicks(rows: Int64) -> Scored:
        by_text_BN, by_clicks_BN = search.opinions([asked.texts[row] for row in rows.tolist()])
        return lambda share: (1 - share) * by_text_BN + share * by_clicks_BN

    clicks = best_weight(bundle, asked, CLICKS, with_clicks)
    words = best_weight(bundle, asked, WORDS, lambda rows: _mixed(bundle, asked, rows, with_clicks(rows)(clicks)))
    words_of_users = 0.0
    if of_users is not None:
        users_QD = _encoded(bundle, of_users)
        words_of_users = best_weight(
            bundle, of_users, WORDS, lambda rows: _mixed(bundle, of_users, rows, users_QD[rows] @ bundle.item_vectors.T)
        )
    return TextWeights(clicks=clicks, words=words, words_of_users=words_of_users)


def queries_of_users(bundle: Bundle, validation: pl.DataFrame, most: int) -> TextQueries | None:
    """The first of the queries whose users have a text and no history; None if they are few.

    Of an item that training has seen, the towers know more than its words: queries that want others are asked alone,
    if there are enough.
    """
    if bundle.user_texts is None:
        return None
    rows = lookup_user_rows(validation.get_column("user_id"), bundle.users.get_column("user_id"))
    texts = pl.Series(bundle.texts_of(rows), dtype=pl.String)
    targets = encode_lists(bundle.encoder, validation.get_column("targets"))
    asks = (texts.is_not_null() & (validation.get_column("history").list.len() == 0)).to_numpy()
    rows, texts, targets = rows[asks], texts.filter(asks), targets.take(np.flatnonzero(asks))
    chosen = np.flatnonzero(wants_unseen(targets, bundle.item_counts))[:most]
    if len(chosen) < FEWEST_QUERIES:
        return None
    return TextQueries(texts.gather(chosen).to_list(), targets.take(chosen), rows[chosen])


def queries_of_words(bundle: Bundle, most: int, *, seed: int) -> TextQueries | None:
    """Random words of items, which they should find; None if few items have any."""
    texts = joined_texts(bundle.encoder.item_transforms, bundle.items)
    rows, queries = random_words(texts, most, seed=seed)
    if len(queries) < FEWEST_QUERIES:
        return None
    return TextQueries(queries, Jagged.from_lengths((rows + 1).astype(np.int32), np.ones(len(rows), np.int64)))


def best_weight(
    bundle: Bundle,
    queries: TextQueries,
    weights: Sequence[float],
    scores: Callable[[Int64], Scored],
) -> float:
    """The weight with the best NDCG@10, or the first one where that is not clearly better.

    Queries that people have asked are believed sooner than those that are made of items' words.

    scores: from the rows of a block to their scores by a weight.
    """
    gains: dict[float, list[Float64]] = {weight: [] for weight in weights}
    for rows in queries.blocks(bundle.encoder.num_items):
        scored, targets = scores(rows), queries.targets.take(rows)
        for weight in weights:
            gains[weight].append(ndcg_of(scored(weight)[:, 1:], targets))
    return best_setting(
        {weight: np.concatenate(parts) for weight, parts in gains.items()},
        queries.targets,
        errors=2 if queries.user_rows is None else 1,
    )


def ndcg_of(score_BN: npt.NDArray[np.floating], targets: Jagged) -> Float64:
    """[B] NDCG@10 of all items by their scores; of equal scores half come first. score_BN: without position 0.

    A target at position 0, which is in no catalogue, is never found.
    """
    query_P, row_P = targets.row_of_value, targets.values.astype(np.int64) - 1
    wanted_P1 = score_BN[query_P, np.maximum(row_P, 0)][:, None]
    above_P = (score_BN[query_P] > wanted_P1 + ROUNDING).sum(axis=1)
    equal_P = (score_BN[query_P] >= wanted_P1 - ROUNDING).sum(axis=1) - above_P - 1
    rank_P = np.where(row_P < 0, np.inf, above_P + equal_P / 2)
    gain_P = np.where(rank_P < 10, 1 / np.log2(rank_P + 2), 0.0)
    ideal = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(10) + 2))))
    return np.bincount(query_P, gain_P, minlength=len(targets)) / ideal[np.minimum(targets.lengths, 10)]


def _mixed(bundle: Bundle, queries: TextQueries, rows: Int64, by_vector_BN: npt.NDArray[np.floating]) -> Scored:
    """Words beside vectors, as HybridIndex adds them."""
    assert bundle.lexical is not None
    by_word_BN = np.zeros(by_vector_BN.shape)
    for number, row in enumerate(rows.tolist()):
        scores_N = bundle.lexical.scores_of(queries.texts[row])
        if scores_N is not None:
            by_word_BN[number] = z_scores(scores_N, *moments(scores_N[1:]))
    mean, deviation = by_vector_BN[:, 1:].mean(axis=1), by_vector_BN[:, 1:].std(axis=1)
    standard_BN = (by_vector_BN - mean[:, None]) / np.maximum(deviation, ROUNDING)[:, None]
    return lambda weight: fused(standard_BN, by_word_BN, weight)


def _encoded(bundle: Bundle, queries: TextQueries) -> Float32:
    """[Q, D] the vectors of users without a history."""
    assert queries.user_rows is not None
    nothing = Jagged(np.empty(0, np.int32), np.zeros(len(queries.texts) + 1, np.int64))
    return TwoTowerRanker(bundle).encode(nothing, queries.user_rows)
