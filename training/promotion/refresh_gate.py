"""The short gate of a refreshed bundle, which has its parent's weights: only what a refresh can break is checked."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from recsys import files
from recsys.bundle import Bundle
from recsys.config import Config, GateConfig
from recsys.data import encode_lists
from recsys.errors import InputError
from recsys.registry import CHAMPION, Registry, Version
from recsys.retriever import GoldenAnswers, ItemChanges, Retriever
from recsys.search import ItemIndex, recall_at

from .aliases import make_champion
from .checks import RECALL_K, at_least, at_most
from .decision import Check, Decision
from .gate import record
from .last_resort import baseline_of, is_last_resort

SCORE_TOLERANCE = 1e-3  # of the largest score: other processors round otherwise
LEAST_KEPT = 0.5  # of the items of the golden answers: fewer looks like a column that was filled with other things
MOST_REMOVED = 0.2  # of the catalogue: more looks like a table that was cut off


def decide_refresh(
    champion: Version,
    parent: Retriever,
    refreshed: Retriever,
    histories: pl.Series,
    changes: ItemChanges,
    records: Path,
) -> Decision:
    """Judge a refresh of the champion before it is registered. records: the folder of its records."""
    with files.input_error_if_damaged(records / "config.json"):
        settings = Config.model_validate(files.read_json(records / "config.json")).gate
    return Decision(
        name=champion.name,
        challenger=0,
        champion=champion.number,
        source=champion.number,
        num_queries=len(histories),
        checks=tuple(judge_refresh(parent, refreshed, histories, changes, settings)),
        settings=settings,
        baseline=baseline_of(champion),
        champion_baseline=baseline_of(champion),
        last_resort=is_last_resort(champion),
        refreshed=str(changes),
    )


def promote_refresh(registry: Registry, version: Version, champion: Version, decision: Decision) -> Decision:
    """Store the decision with the registered version and, if it passed, make it champion; returns the decision.

    Raises:
        InputError: its parent is no longer champion.
    """
    decision = decision.model_copy(update={"challenger": version.number})
    with registry.locked(version.name) as check_lock:
        now = registry.version(version.name, CHAMPION)
        if now is None or now.number != champion.number:
            raise InputError(
                f"{version.name} version {champion.number} is no longer champion, so its refresh, version "
                f"{version.number}, does not serve; run this again"
            )
        record(registry, version, decision)
        if decision.promoted:
            why = f"gate {decision.id}: refresh of version {champion.number}, {decision.refreshed}"
            make_champion(registry, version, champion, why, check_lock)
    return decision


def judge_refresh(
    parent: Retriever, refreshed: Retriever, histories: pl.Series, changes: ItemChanges, settings: GateConfig
) -> Iterator[Check]:
    """The checks of a refreshed bundle.

    Args:
        parent: what it was refreshed from.
        refreshed: what is judged.
        histories: the golden queries of the parent.
        changes: how the catalogues differ.
        settings: the limits that the parent was published with.
    """
    lost_items = _num_lost(parent.bundle.items, refreshed.bundle.items, "item_id")
    lost_users = _num_lost(parent.bundle.users, refreshed.bundle.users, "user_id")
    yield at_most("items and users lost", lost_items + lost_users, 0, form=",")
    share = changes.removed / len(changes.is_same)
    yield at_most("share of the items removed", share, MOST_REMOVED, form=".3f")
    queries, moved = _largest_move(parent, refreshed, histories, changes)
    yield at_most(
        f"change of an unchanged item's score, {queries:,} golden queries", moved, SCORE_TOLERANCE, form=".6f"
    )
    kept = _share_kept(parent, refreshed, histories)
    yield at_least("share of the golden answers given again", kept, LEAST_KEPT, form=".3f")
    recall = _index_recall(refreshed, histories)
    yield at_least("recall of the index", recall, settings.index_recall, form=".4f", key="index_recall")


def _num_lost(old: pl.DataFrame, new: pl.DataFrame, name: str) -> int:
    return old.join(new, on=name, how="anti").height


def _largest_move(
    parent: Retriever, refreshed: Retriever, histories: pl.Series, changes: ItemChanges
) -> tuple[int, float]:
    """How many golden queries are only of unchanged items, and how far an unchanged item's score moved in them.

    The largest difference, as a share of the largest score. Only trained items count: the vector of a cold one depends
    on the metadata of the trained ones, too.
    """
    encoder = parent.bundle.encoder
    is_same = changes.is_same & (np.arange(encoder.num_items) < encoder.num_trained)
    same_ids = set(encoder.item_ids.filter(pl.Series(is_same)).to_list())
    known_ids = set(encoder.item_ids.to_list())
    unmoved = [history for history in histories.to_list() if same_ids.issuperset(known_ids.intersection(history))]
    if not unmoved:
        return 0, 0.0
    dtype = histories.dtype
    before = GoldenAnswers.of(parent, pl.Series(unmoved, dtype=dtype))
    moved = 0.0
    for history, ids, scores in zip(before.history, before.item_ids, before.scores, strict=True):
        recorded = {item: score for item, score in zip(ids, scores, strict=True) if item in same_ids}
        if not recorded:
            continue
        answer = refreshed.limited(clock=None).recommend([history], only=list(recorded), k=len(recorded))
        now = dict(zip(answer.item_ids[0].to_list(), answer.scores[0].to_list(), strict=True))
        largest = max(abs(score) for score in scores) or 1.0
        moved = max(moved, *(abs(now.get(item, np.inf) - score) / largest for item, score in recorded.items()))
    return len(unmoved), moved


def _share_kept(parent: Retriever, refreshed: Retriever, histories: pl.Series) -> float:
    """The share of the items of the parent's golden answers that the refreshed bundle answers again; 1 without any."""
    if not len(histories):
        return 1.0
    before, now = (GoldenAnswers.of(retriever, histories).item_ids for retriever in (parent, refreshed))
    again = sum(len(set(old) & set(new)) for old, new in zip(before, now, strict=True))
    return again / sum(map(len, before))


def _index_recall(refreshed: Retriever, histories: pl.Series) -> float:
    """Recall@100 of the bundle's own index on the golden queries; 1 where the search is exact."""
    bundle = refreshed.bundle
    if not isinstance(bundle, Bundle) or bundle.index.spec.is_exact or not len(histories):
        return 1.0
    users = refreshed.encode(encode_lists(bundle.encoder, histories), np.zeros(len(histories), np.int64))
    k = min(RECALL_K, bundle.encoder.num_items)
    approximate, _ = bundle.index.search(users, k)
    exact, _ = ItemIndex.build(bundle.item_vectors, kind="exact").search(users, k)
    return recall_at(approximate, exact)
