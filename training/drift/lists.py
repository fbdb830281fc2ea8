"""The items in the lists of A and of B: in how many they are, which gain and lose most, and a few lists side by side.

Shapes: N positions of one catalogue, entry 0 unused; Q users; K ranks.
"""

import numpy as np
import polars as pl

from recsys.data import Int32, Int64
from recsys.retriever import Retriever

from ..report import item_labels
from .figures import ItemInList, ListedItem, UserLists

NUM_MOVERS = 5  # items that gain most, and that lose most


def listed_items(a: Retriever, b: Retriever, a_QK: Int32, b_QK: Int32, a_position_N: Int32) -> list[ListedItem]:
    """Every item that is in some list, with the share of A's lists and of B's: B's items first, then those of A alone.

    Args:
        a: The bundle to compare with.
        b: The other bundle.
        a_QK: The lists of A, in A's positions.
        b_QK: The lists of B, in B's positions.
        a_position_N: A's position of the item at each of B's positions; 0 where A does not know it.
    """
    share_a, share_b = _shares(a_QK, len(a.bundle.item_counts)), _shares(b_QK, len(a_position_N))
    of_b = _named(b, np.where(a_position_N > 0, share_a[a_position_N], 0), share_b)
    alone = np.setdiff1d(np.arange(1, len(share_a)), a_position_N)
    of_a = _named(a, share_a, np.zeros_like(share_a))[alone - 1]
    listed = pl.concat([of_b, of_a]).filter(pl.max_horizontal("a", "b") > 0)
    return [ListedItem(**row) for row in listed.iter_rows(named=True)]


def gains(items: list[ListedItem]) -> tuple[ListedItem, ...]:
    """The items whose share of the lists grows most from A to B, the largest gain first."""
    grown = [item for item in items if item.b > item.a]
    return tuple(sorted(grown, key=lambda item: item.a - item.b)[:NUM_MOVERS])


def losses(items: list[ListedItem]) -> tuple[ListedItem, ...]:
    """The items whose share of the lists falls most from A to B, the largest loss first."""
    fallen = [item for item in items if item.b < item.a]
    return tuple(sorted(fallen, key=lambda item: item.b - item.a)[:NUM_MOVERS])


def examples(
    a: Retriever, b: Retriever, user_ids: pl.Series, a_QK: Int32, b_QK: Int32, common_Q: Int64
) -> tuple[UserLists, ...]:
    """The lists of three users: the one whose list changes most, one in the middle, and the one whose changes least."""
    order = np.argsort(common_Q, kind="stable")
    chosen = dict.fromkeys(order[[0, len(order) // 2, -1]].tolist())
    return tuple(
        UserLists(
            user_id=user_ids[row],
            common=int(common_Q[row]),
            a=_in_list(a, a_QK[row]),
            b=_in_list(b, b_QK[row]),
        )
        for row in chosen
    )


def _in_list(retriever: Retriever, positions_K: Int32) -> tuple[ItemInList, ...]:
    rows = positions_K[positions_K > 0] - 1
    ids = retriever.bundle.encoder.item_ids.gather(rows)
    titles = item_labels(retriever.bundle.items, retriever.bundle.provenance.title).gather(rows)
    return tuple(ItemInList(item_id=item_id, title=title) for item_id, title in zip(ids, titles, strict=True))


def _shares(positions_QK: Int32, length: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(np.bincount(positions_QK.ravel(), minlength=length) / len(positions_QK))


def _named(
    retriever: Retriever,
    a_N: np.ndarray[tuple[int], np.dtype[np.float64]],
    b_N: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> pl.DataFrame:
    items = retriever.bundle.items
    ids = items.get_column("item_id")
    return pl.DataFrame(
        [ids, item_labels(items, retriever.bundle.provenance.title), pl.Series("a", a_N[1:]), pl.Series("b", b_N[1:])]
    )
