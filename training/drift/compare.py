"""Drift: how much the answers of bundle B differ from A's. Without labels, this does not say which is better.

A and B are champion and challenger, say. Answers are compared in A's catalogue positions, where an item that only B
knows is 0. Large inputs are sampled with a fixed seed: the same inputs give the same figures.

Shapes: N catalogue positions, row 0 of them unused; C items that both know; S items drawn from them; Q users; K
ranks; D dimensions.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys import metrics
from recsys.answers import Ranking
from recsys.bundle import Bundle
from recsys.data import Int32, Int64, Jagged, encode_lists, read_queries, require_same_kind
from recsys.errors import InputError
from recsys.retriever import Retriever, logged_histories
from recsys.search import ItemIndex, unit_rows

from ..evaluation import SEED
from ..report import by_decile
from .figures import (
    CatalogueSizes,
    DriftFigures,
    ListedItem,
    NeighbourOverlap,
    ScoreFigures,
    Scores,
    SideFigures,
    Sides,
    UserCounts,
)
from .lists import examples, gains, listed_items, losses

MAX_USERS = MAX_ITEMS = 2_000  # at most, whose answers and whose neighbours are compared
NUM_DOTS = 500  # items on the chart: those in the most lists
DEEP = 100  # ranks that a ranker behind the retriever would read
# A new hub is in at least HUB_SHARE of B's lists and has at least HUB_GROWTH times its share of A's. Training again
# with another seed, and no other change, already put an item into 12% of the lists.
HUB_SHARE, HUB_GROWTH = 0.2, 3


def read_histories(retriever: Retriever, *, events: str | None = None, queries: str | None = None) -> pl.DataFrame:
    """Read the histories to compare answers for.

    Args:
        retriever: Its bundle names the columns of the log.
        events: A log. Give this or ``queries``.
        queries: A Parquet file of user_id and history.

    Returns:
        user_id and history (raw item ids, oldest first).

    Raises:
        InputError: Neither or both are given, or the file is not what it should be.
    """
    if (events is None) == (queries is None):
        raise InputError("give either --events (a log) or --queries (user_id, history)")
    if events is not None:
        return logged_histories(retriever.bundle, events)
    return read_queries(str(queries))


def compare_bundles(a: Retriever, b: Retriever, histories: pl.DataFrame, *, k: int = 10) -> DriftFigures:
    """Compare the answers of two bundles.

    Args:
        a: The bundle to compare with.
        b: The other bundle. Its catalogue may differ, but must share at least two items with A's.
        histories: user_id and history, lists of raw item ids, oldest first. Of the users with an item that both
            bundles know, at most MAX_USERS are drawn.
        k: The length of the lists. It is cut to the size of the smaller catalogue.

    Raises:
        InputError: The two share fewer than two items, or no user has one of them.
    """
    a_position_N = b_items_in_a(a, b)
    sizes = _sizes(a, b, a_position_N)
    rng, most = np.random.default_rng(SEED), min(sizes.a, sizes.b)
    k, deep = min(k, most), min(max(k, DEEP), most)
    user_ids, history_a, history_b = _sample(a, b, histories, rng)
    ranking_a = a.rank(history_a, a.user_rows(user_ids), k=deep)
    ranking_b = b.rank(history_b, b.user_rows(user_ids), k=deep)
    deep_a_QK, deep_b_QK = ranking_a.positions, a_position_N[ranking_b.positions]
    top_a_QK, top_b_QK = deep_a_QK[:, :k], deep_b_QK[:, :k]
    counts_N, lists_b_QK = a.bundle.item_counts, ranking_b.positions[:, :k]
    listed = listed_items(a, b, top_a_QK, lists_b_QK, a_position_N)
    items, common_Q = _most_listed(listed), in_common(top_a_QK, top_b_QK)
    side_a = _side(ranking_a, deep_a_QK, sizes.a, counts_N, k)
    sides = Sides(a=side_a, b=_side(ranking_b, deep_b_QK, sizes.b, counts_N, k))
    return DriftFigures(
        a=a.bundle_id,
        b=b.bundle_id,
        k=k,
        deep=deep,
        users=UserCounts(given=histories.height, compared=len(user_ids)),
        catalogue=sizes,
        overlap=overlap(top_a_QK, top_b_QK),
        overlap_deep=overlap(deep_a_QK, deep_b_QK),
        same_first=overlap(deep_a_QK[:, :1], deep_b_QK[:, :1]),
        users_by_common=tuple(np.bincount(common_Q, minlength=k + 1).tolist()),
        neighbours=_neighbours(a, b, a_position_N, k, rng),
        mixed=_found_across(a, b, user_ids, history_a, history_b, top_a_QK),
        new_items=float(np.mean(top_b_QK[lists_b_QK > 0] == 0)),
        sides=sides,
        items=items,
        hubs=tuple(item for item in items if item.b >= max(HUB_SHARE, HUB_GROWTH * max(item.a, k / sizes.b))),
        gains=gains(listed),
        losses=losses(listed),
        examples=examples(a, b, user_ids, top_a_QK, lists_b_QK, common_Q),
        same_lists=np.array_equal(deep_a_QK, deep_b_QK) and np.array_equal(ranking_a.counts, ranking_b.counts),
    )


def _sizes(a: Retriever, b: Retriever, a_position_N: Int32) -> CatalogueSizes:
    """The sizes of both catalogues; raises InputError where they share fewer than two items."""
    num_a, num_b, both = a.bundle.encoder.num_items, b.bundle.encoder.num_items, int(np.count_nonzero(a_position_N))
    if both < 2:
        raise InputError(f"{both} of A's {num_a:,} items are in B, expected 2 or more; compare like with like")
    return CatalogueSizes(a=num_a, b=num_b, both=both)


def b_items_in_a(a: Retriever, b: Retriever) -> Int32:
    """[N] A's position of the item at each of B's positions; 0 where A does not know it."""
    ids_a, ids_b = a.bundle.encoder.item_ids, b.bundle.encoder.item_ids
    require_same_kind(ids_a.dtype, ids_b.dtype, "item_id", "bundle A", "bundle B")
    return np.concatenate(([0], a.bundle.encoder.positions(ids_b))).astype(np.int32)


def _sample(
    a: Retriever, b: Retriever, histories: pl.DataFrame, rng: np.random.Generator
) -> tuple[pl.Series, Jagged, Jagged]:
    """Users with an item that both know: their ids, and their histories in A's and in B's positions."""
    in_a, in_b = (encode_lists(retriever.bundle.encoder, histories.get_column("history")) for retriever in (a, b))
    comparable = np.flatnonzero(in_a.keep((in_a.values > 0) & (in_b.values > 0)).lengths)
    if not len(comparable):
        raise InputError(
            f"none of {histories.height:,} users has an item that both bundles know; give histories with such items"
        )
    drawn = np.sort(rng.permutation(comparable)[:MAX_USERS])
    return histories.get_column("user_id").gather(drawn), in_a.take(drawn), in_b.take(drawn)


def _found_across(
    a: Retriever, b: Retriever, user_ids: pl.Series, history_a: Jagged, history_b: Jagged, top_a_QK: Int32
) -> float | None:
    """The share of A's answers that A's user vectors also find in B's index; None if the dimensions differ."""
    if not isinstance(a.bundle, Bundle) or not isinstance(b.bundle, Bundle):
        return None
    if a.bundle.item_vectors.shape[1] != b.bundle.item_vectors.shape[1]:
        return None
    a_position_N = b_items_in_a(a, b)
    users_QD = a.encode(history_a, a.user_rows(user_ids))
    crossed_QK, _ = b.bundle.index.search(users_QD, top_a_QK.shape[1], excluded=history_b, allowed=a_position_N > 0)
    known_QK = np.where(np.isin(top_a_QK, a_position_N), top_a_QK, 0)
    return overlap(known_QK, a_position_N[crossed_QK])


def in_common(first_BK: Int32, second_BK: Int32) -> Int64:
    """[B] int64: how many positions each pair of rows shares. 0 is padding; no row holds a position twice."""
    second = Jagged.from_lengths(second_BK.ravel(), np.full(len(second_BK), second_BK.shape[1]))
    return np.asarray(metrics.hits(first_BK, second).sum(axis=1))


def overlap(first_BK: Int32, second_BK: Int32) -> float:
    """The share of the first lists' positions that the second lists also hold, over all rows."""
    return float(in_common(first_BK, second_BK).sum() / max(1, np.count_nonzero(first_BK)))


def _neighbours(
    a: Retriever, b: Retriever, a_position_N: Int32, k: int, rng: np.random.Generator
) -> NeighbourOverlap | None:
    """How the nearest neighbours of the shared items agree; None where a baseline serves, which has no vectors."""
    if not isinstance(a.bundle, Bundle) or not isinstance(b.bundle, Bundle):
        return None
    shared_C = np.flatnonzero(a_position_N)
    return neighbour_overlap(a.bundle.item_vectors[a_position_N[shared_C]], b.bundle.item_vectors[shared_C], k, rng)


def neighbour_overlap(
    a_CD: npt.NDArray[np.float32], b_CD: npt.NDArray[np.float32], k: int, rng: np.random.Generator
) -> NeighbourOverlap:
    """Compare the nearest neighbours of at most MAX_ITEMS items in two spaces.

    Args:
        a_CD: The vectors of some items in one space.
        b_CD: Those of the same items in another, whose number of dimensions may differ.
        k: How many neighbours to compare.
        rng: Draws the items.
    """
    drawn_S, k = np.sort(rng.permutation(len(a_CD))[:MAX_ITEMS]) + 1, min(k, len(a_CD) - 1)
    itself = Jagged.from_lengths(drawn_S, np.ones(len(drawn_S), np.int64))
    neighbours = []
    for vectors_CD in (a_CD, b_CD):
        unit_ND = np.pad(unit_rows(vectors_CD), ((1, 0), (0, 0))).astype(np.float32)
        neighbours.append(ItemIndex.build(unit_ND, kind="exact").search(unit_ND[drawn_S], k, excluded=itself)[0])
    return NeighbourOverlap(k=k, overlap=overlap(*neighbours))


def _side(ranking: Ranking, in_a_QK: Int32, num_items: int, counts_N: Int64, k: int) -> SideFigures:
    """What one bundle recommends. Popularity is measured by A's training counts, over the items that A knows."""
    listed_N = np.bincount(in_a_QK[:, :k].ravel(), minlength=len(counts_N))
    return SideFigures(
        coverage=metrics.coverage(ranking.positions, num_items, k),
        gini=metrics.exposure_gini(ranking.positions, num_items, k),
        novelty=float(metrics.novelty(in_a_QK, counts_N, k).mean()),
        popular=by_decile(listed_N, counts_N)[0],
        score=Scores(first=_scores(ranking, 1), all=_scores(ranking, k)),
    )


def _scores(ranking: Ranking, k: int) -> ScoreFigures:
    scores = ranking.scores[:, :k][ranking.positions[:, :k] > 0].astype(np.float64)
    return ScoreFigures(mean=float(scores.mean()), std=float(scores.std()))


def _most_listed(items: list[ListedItem]) -> tuple[ListedItem, ...]:
    """The items that are in the most lists of A or of B; those in the most of B's lists come first."""
    most = sorted(items, key=lambda item: -max(item.a, item.b))[:NUM_DOTS]
    return tuple(sorted(most, key=lambda item: -item.b))
