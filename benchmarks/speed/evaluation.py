"""Evaluation: lists of 100 and targets in memory to recall, NDCG and MRR at three cut-offs."""

from collections.abc import Iterator

import numpy as np

from benchmarks.speed.race import Answer, Contestant, enter

K, CUTS = 100, (10, 20, 100)
CONTESTANTS = (
    Contestant("ours", "ours", peer=False),
    Contestant("RecTools", "rectools"),
    Contestant("RePlay, Polars", "replay"),
)


def world(num_users: int, num_items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranked items [users, K], and distinct targets as users and items, 10 a user on average, half of them in reach."""
    rng = np.random.default_rng(0)
    starts = rng.integers(1, num_items, size=(num_users, 1))
    ranked = (starts + np.arange(K) * 7919) % num_items  # 7919 is prime: no item twice
    users = np.repeat(np.arange(num_users), rng.integers(1, 20, num_users))
    items = np.where(
        rng.random(len(users)) < 0.5,
        ranked[users, rng.integers(K, size=len(users))],
        rng.integers(num_items, size=len(users)),
    )
    pairs = np.unique(users * num_items + items)
    return ranked, pairs // num_items, pairs % num_items


def ours(**size: int) -> Iterator[Answer | None]:
    from recsys import metrics
    from recsys.data import Jagged

    ranked, users, items = world(**size)
    positions = (ranked + 1).astype(np.int32)
    targets = Jagged.from_lengths((items + 1).astype(np.int32), np.bincount(users))
    yield None
    hits, counts = metrics.hits(positions, targets), metrics.count_targets(targets)
    found = {}
    for k in CUTS:
        found[f"recall@{k}"] = float(metrics.recall(hits, counts, k).mean())
        found[f"ndcg@{k}"] = float(metrics.ndcg(hits, counts, k).mean())
        found[f"mrr@{k}"] = float(metrics.mrr(hits, k).mean())
    yield None
    yield found


def rectools(**size: int) -> Iterator[Answer | None]:
    import pandas as pd
    from rectools.metrics import MRR, NDCG, Recall, calc_metrics

    ranked, users, items = world(**size)
    reco = pd.DataFrame({
        "user_id": np.repeat(np.arange(len(ranked)), K), "item_id": ranked.ravel(),
        "rank": np.tile(np.arange(1, K + 1), len(ranked)),
    })  # fmt: skip
    truth = pd.DataFrame({"user_id": users, "item_id": items})
    chosen = {"recall": Recall, "ndcg": NDCG, "mrr": MRR}
    yield None
    found = calc_metrics(
        {f"{name}@{k}": metric(k=k) for name, metric in chosen.items() for k in CUTS}, reco=reco, interactions=truth
    )
    yield None
    yield {name: float(value) for name, value in found.items() if not name.startswith("ndcg")}  # defined otherwise


def replay(**size: int) -> Iterator[Answer | None]:
    import polars as pl
    from replay.metrics import MRR, NDCG, OfflineMetrics, Recall

    ranked, users, items = world(**size)
    reco = pl.DataFrame({
        "query_id": np.repeat(np.arange(len(ranked)), K), "item_id": ranked.ravel(),
        "rating": np.tile(np.arange(K, 0, -1.0), len(ranked)),
    })  # fmt: skip
    truth = pl.DataFrame({"query_id": users, "item_id": items})
    metrics = OfflineMetrics([Recall([*CUTS]), NDCG([*CUTS]), MRR([*CUTS])])
    yield None
    found = metrics(reco, truth)
    yield None
    yield {name.lower(): float(value) for name, value in found.items()}


if __name__ == "__main__":
    enter({"ours": ours, "rectools": rectools, "replay": replay})
