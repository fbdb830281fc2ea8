"""Batch scoring: vectors of users and items in memory to the exact top 100 of every user, seen items left out."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.speed.race import Answer, Contestant, enter

K, SEEN = 100, 100
CONTESTANTS = (
    Contestant("ours", "ours", peer=False),
    Contestant("implicit", "implicit"),
    Contestant("implicit, BLAS on one thread", "implicit", variables={"OPENBLAS_NUM_THREADS": "1"}),
    Contestant("FAISS flat", "flat", peer=False, settings={"tuned": False}),
    Contestant("FAISS flat, larger BLAS blocks", "flat", peer=False, settings={"tuned": True}),
    Contestant("NumPy", "numpy_", peer=False),
    Contestant("RecTools, TorchRanker", "rectools", settings={"torch": True}),
    Contestant("RecTools, ImplicitRanker", "rectools", settings={"torch": False}),
)


def world(num_users: int, num_items: int, dim: int) -> tuple[np.ndarray, np.ndarray, csr_matrix]:
    """User vectors, item vectors of unequal length, and a seen matrix [users, items]."""
    rng = np.random.default_rng(0)
    users = rng.standard_normal((num_users, dim), np.float32)
    items = rng.standard_normal((num_items, dim), np.float32) * (0.5 + rng.random((num_items, 1), np.float32))
    seen = np.sort(rng.integers(num_items, size=(num_users, SEEN)), axis=1)
    return users, items, csr_matrix((np.ones(seen.size, np.float32), seen.ravel(), np.arange(num_users + 1) * SEEN),
                                    shape=(num_users, num_items))  # fmt: skip


def ours(**size: int) -> Iterator[Answer | None]:
    from recsys.data import Jagged
    from recsys.search import ItemIndex

    users, items, seen = world(**size)
    vectors = np.concatenate([np.zeros((1, items.shape[1]), np.float32), items])
    index = ItemIndex.build(vectors, kind="exact")
    excluded = Jagged(seen.indices + 1, seen.indptr.astype(np.int64))
    yield None
    positions, scores = index.search(users, K, excluded=excluded)
    yield None
    yield answer(positions - 1, scores)


def implicit(**size: int) -> Iterator[Answer | None]:
    from implicit.cpu.topk import topk

    users, items, seen = world(**size)
    yield None
    rows, scores = topk(items, users, K, filter_query_items=seen)
    yield None
    yield answer(rows, scores)


def flat(tuned: bool, **size: int) -> Iterator[Answer | None]:
    import faiss

    users, items, seen = world(**size)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    if tuned:  # FAISS wiki, "Brute force search": block sizes of the matrix product
        faiss.cvar.distance_compute_blas_query_bs = 4096
        faiss.cvar.distance_compute_blas_database_bs = 1024
    yield None
    scores, rows = index.search(users, K + SEEN)
    stride = items.shape[0]
    wanted = np.arange(len(users))[:, None] * stride + rows
    known = np.repeat(np.arange(len(users)), SEEN) * stride + seen.indices
    keep = known[np.searchsorted(known, wanted).clip(max=len(known) - 1)] != wanted
    first = np.argsort(~keep, axis=1, kind="stable")[:, :K]
    rows, scores = np.take_along_axis(rows, first, axis=1), np.take_along_axis(scores, first, axis=1)
    yield None
    yield answer(rows, scores)


def numpy_(**size: int) -> Iterator[Answer | None]:
    users, items, seen = world(**size)
    found, values = np.empty((len(users), K), np.int64), np.empty((len(users), K), np.float32)
    yield None
    step = max(1, 2**26 // len(items))
    for start in range(0, len(users), step):
        scores = users[start : start + step] @ items.T
        part = seen[start : start + step]
        scores[np.repeat(np.arange(part.shape[0]), np.diff(part.indptr)), part.indices] = -np.inf
        rows = np.argpartition(scores, len(items) - K, axis=1)[:, len(items) - K :]
        top = np.take_along_axis(scores, rows, axis=1)
        order = np.argsort(-top, axis=1)
        found[start : start + step] = np.take_along_axis(rows, order, axis=1)
        values[start : start + step] = np.take_along_axis(top, order, axis=1)
    yield None
    yield answer(found, values)


def rectools(torch: bool, **size: int) -> Iterator[Answer | None]:
    """What its transformers rank with, and what its factor models do."""
    from rectools.models.rank import Distance, ImplicitRanker, TorchRanker

    users, items, seen = world(**size)
    ranker = TorchRanker(Distance.DOT, "cpu", users, items) if torch else ImplicitRanker(Distance.DOT, users, items)
    yield None
    _, rows, scores = ranker.rank(np.arange(len(users)), k=K, filter_pairs_csr=seen)
    yield None
    yield answer(np.asarray(rows).reshape(-1, K), np.asarray(scores).reshape(-1, K))


def answer(rows: np.ndarray, scores: np.ndarray) -> Answer:
    """The items' rows as a sum, which a swap of near ties leaves as it is, and the scores' mean."""
    return {"items": float(np.sort(rows, axis=1).astype(np.float64).sum()), "mean score": float(np.mean(scores))}


if __name__ == "__main__":
    enter({"ours": ours, "implicit": implicit, "flat": flat, "numpy_": numpy_, "rectools": rectools})
