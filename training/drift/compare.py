"""The drift watch: how the answers of bundle B differ from A's, without a label: how much changes, not which is better.

A and B are champion and challenger, say. Answers are compared in A's positions, an item that only B knows being 0.
Everything is sampled where the whole would be large, with a seed: same inputs, same figures.

Shapes: N catalogue positions, row 0 of them unused; C items that both know; S of them; Q users; K ranks; D dimensions.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys import metrics
from recsys.data import Int32, Int64, Jagged, encode_lists, read_queries, require_same_kind
from recsys.errors import InputError
from recsys.known_users import logged_histories
from recsys.results import Ranking
from recsys.retriever import Retriever
from recsys.search import ItemIndex, unit_rows

from ..evaluation import SEED
from ..report import by_decile, item_titles

NUM_USERS = NUM_ITEMS = 2_000  # whose answers and whose neighbours are compared
NUM_DOTS = 500  # items on the chart: those in most lists
DEEP = 100  # ranks that a ranker after us would read
# A new hub is in so many of B's lists, and in so many times A's and an even share. Another seed alone brought 12%.
HUB_SHARE, HUB_GROWTH = 0.2, 3


def read_histories(retriever: Retriever, *, events: str | None = None, queries: str | None = None) -> pl.DataFrame:
    """user_id and history (raw item ids, oldest first) of a log, whose columns the bundle names, or of a queries file.

    Raises InputError on bad input.
    """
    if (events is None) == (queries is None):
        raise InputError("give either --events (a log) or --queries (user_id, history)")
    if events is not None:
        return logged_histories(retriever.bundle, events)
    return read_queries(str(queries))


def compare_bundles(a: Retriever, b: Retriever, histories: pl.DataFrame, *, k: int = 10) -> dict[str, Any]:
    """The figures, JSON-able: shares from 0 to 1, novelty in bits, scores as each bundle gives them.

    histories: user_id and history, lists of raw item ids, oldest first; of the users with an item that both know,
    NUM_USERS are drawn. k: length of the lists, at most the smaller catalogue's size. Raises InputError where the two
    share fewer than two items, or no user has one of them.
    """
    ids_a, ids_b = a.bundle.encoder.item_ids, b.bundle.encoder.item_ids
    require_same_kind(ids_a.dtype, ids_b.dtype, "item_id", "bundle A", "bundle B")
    in_a_N = np.concatenate(([0], a.bundle.encoder.positions(ids_b))).astype(np.int32)  # of B's positions
    both_C = np.flatnonzero(in_a_N)
    if len(both_C) < 2:
        raise InputError(f"{len(both_C)} of A's {len(ids_a):,} items are in B; expected bundles of one catalogue")
    rng, most = np.random.default_rng(SEED), min(len(ids_a), len(ids_b))
    k, deep = min(k, most), min(max(k, DEEP), most)
    user_ids, history_a, history_b = _sample(a, b, histories, rng)
    rows_a, counts_N = a.user_rows(user_ids), a.bundle.item_counts
    ranking_a, ranking_b = a.rank(history_a, rows_a, k=deep), b.rank(history_b, b.user_rows(user_ids), k=deep)
    top_a_QK, top_b_QK = ranking_a.positions, in_a_N[ranking_b.positions]
    first_a_QK, first_b_QK = top_a_QK[:, :k], top_b_QK[:, :k]
    mixed = None
    if a.bundle.item_vectors.shape[1] == b.bundle.item_vectors.shape[1]:
        users_QD = a.encode(history_a, rows_a)
        found_QK, _ = b.bundle.index.search(users_QD, k, excluded=history_b, allowed=in_a_N > 0)
        own_QK = np.where(np.isin(first_a_QK, in_a_N), first_a_QK, 0)
        mixed = overlap(own_QK, in_a_N[found_QK])
    items = _most_listed(first_a_QK, ranking_b.positions[:, :k], in_a_N, b.bundle.items)
    return {
        "a": a.bundle_id,
        "b": b.bundle_id,
        "k": k,
        "deep": deep,
        "users": {"given": histories.height, "compared": len(user_ids)},
        "catalogue": {"A": len(ids_a), "B": len(ids_b), "both": len(both_C)},
        "overlap": overlap(first_a_QK, first_b_QK),
        "overlap_deep": overlap(top_a_QK, top_b_QK),
        "same_first": overlap(top_a_QK[:, :1], top_b_QK[:, :1]),
        "users_by_common": np.bincount(in_common(first_a_QK, first_b_QK), minlength=k + 1).tolist(),
        "neighbours": neighbour_overlap(a.bundle.item_vectors[in_a_N[both_C]], b.bundle.item_vectors[both_C], k, rng),
        "mixed": mixed,
        "new_items": float(np.mean(first_b_QK[ranking_b.positions[:, :k] > 0] == 0)),
        "sides": {
            "A": _side(ranking_a, top_a_QK, len(ids_a), counts_N, k),
            "B": _side(ranking_b, top_b_QK, len(ids_b), counts_N, k),
        },
        "items": items,
        "hubs": [each for each in items if each["B"] >= max(HUB_SHARE, HUB_GROWTH * max(each["A"], k / len(ids_b)))],
    }


def _sample(
    a: Retriever, b: Retriever, histories: pl.DataFrame, rng: np.random.Generator
) -> tuple[pl.Series, Jagged, Jagged]:
    """Users with an item that both know: their ids, and their histories in A's and in B's positions."""
    in_a, in_b = (encode_lists(each.bundle.encoder, histories.get_column("history")) for each in (a, b))
    able = np.flatnonzero(in_a.keep((in_a.values > 0) & (in_b.values > 0)).lengths)
    if not len(able):
        raise InputError(
            f"none of {histories.height:,} users has an item that both bundles know; give histories of their catalogue"
        )
    chosen = np.sort(rng.permutation(able)[:NUM_USERS])
    return histories.get_column("user_id").gather(chosen), in_a.take(chosen), in_b.take(chosen)


def in_common(first_BK: Int32, second_BK: Int32) -> Int64:
    """[B] int64: how many positions the two rows share; 0 is padding, and no position is twice in a row."""
    held = Jagged.from_lengths(second_BK.ravel(), np.full(len(second_BK), second_BK.shape[1]))
    return np.asarray(metrics.hits(first_BK, held).sum(axis=1))


def overlap(first_BK: Int32, second_BK: Int32) -> float:
    """The share of the first lists' positions that the second lists hold too, over all rows."""
    return float(in_common(first_BK, second_BK).sum() / max(1, np.count_nonzero(first_BK)))


def neighbour_overlap(
    a_CD: npt.NDArray[np.float32], b_CD: npt.NDArray[np.float32], k: int, rng: np.random.Generator
) -> dict[str, float]:
    """Of the ``k`` items nearest to an item by cosine, the share that stays: the mean over NUM_ITEMS items.

    a_CD, b_CD: the same items' vectors in two spaces, whose dimensions may differ.
    """
    chosen_S, k = np.sort(rng.permutation(len(a_CD))[:NUM_ITEMS]) + 1, min(k, len(a_CD) - 1)
    itself, found = Jagged.from_lengths(chosen_S, np.ones(len(chosen_S), np.int64)), []
    for vectors_CD in (a_CD, b_CD):
        unit_ND = np.pad(unit_rows(vectors_CD), ((1, 0), (0, 0))).astype(np.float32)
        found.append(ItemIndex.build(unit_ND, kind="exact").search(unit_ND[chosen_S], k, excluded=itself)[0])
    return {"k": k, "overlap": overlap(*found)}


def _side(ranking: Ranking, in_a_QK: Int32, num_items: int, counts_N: Int64, k: int) -> dict[str, Any]:
    """What one bundle shows. Popularity is by A's training counts, of the items that A knows."""
    listed_N = np.bincount(in_a_QK[:, :k].ravel(), minlength=len(counts_N))
    score = {}
    for name, length in (("first", 1), ("all", k)):
        scores = ranking.scores[:, :length][ranking.positions[:, :length] > 0].astype(np.float64)
        score[name] = {"mean": float(scores.mean()), "std": float(scores.std())}
    return {
        "coverage": metrics.coverage(ranking.positions, num_items, k),
        "gini": metrics.exposure_gini(ranking.positions, num_items, k),
        "novelty": float(metrics.novelty(in_a_QK, counts_N, k).mean()),
        "popular": by_decile(listed_N, counts_N)[0],
        "score": score,
    }


def _most_listed(a_QK: Int32, b_QK: Int32, in_a_N: Int32, items: pl.DataFrame) -> list[dict[str, Any]]:
    """B's items that are in most lists of A or B, most of B first: id, title, and the share of A's and of B's lists."""
    shares_a_N = np.where(in_a_N > 0, np.bincount(a_QK.ravel(), minlength=in_a_N.max() + 1)[in_a_N], 0) / len(a_QK)
    shares_b_N = np.bincount(b_QK.ravel(), minlength=len(in_a_N)) / len(b_QK)
    listed = pl.DataFrame([
        items.get_column("item_id").cast(pl.String), item_titles(items, None),
        pl.Series("A", shares_a_N[1:]), pl.Series("B", shares_b_N[1:]),
    ]).filter(pl.max_horizontal("A", "B") > 0)  # fmt: skip
    most = listed.sort(pl.max_horizontal("A", "B"), descending=True, maintain_order=True).head(NUM_DOTS)
    return most.sort("B", descending=True, maintain_order=True).to_dicts()
