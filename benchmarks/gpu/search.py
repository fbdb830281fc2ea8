"""The exact top 100 of a million items, and whether the index answers on the GPU as on the CPU.

Legend: N items, B users, D dimensions, K answers.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.gpu import rows
from benchmarks.gpu.rows import Figures, Job, Row, Send, outcome, sized
from recsys.search import recall_at, unit_rows

Array = npt.NDArray[Any]
ITEMS, USERS, DIM, K, CHECKED = 1_000_000, 65_536, 64, 100, 64
MANY_USERS = 1_000_000
OURS = "ours, ItemIndex"


def searches() -> Iterator[Job]:
    yield Job("search", OURS, ours)
    yield Job("search", OURS, parities)
    for label in SEARCHES:
        if label != OURS:
            yield Job("search", label, race, (label,))


def ours(send: Send) -> None:
    """Some users first: a result, however long the many take."""
    for num_users in (USERS, MANY_USERS):
        race(send, OURS, num_users)


def race(send: Send, label: str, num_users: int = USERS) -> None:
    num_items, num_users = sized(ITEMS, 2_000), sized(num_users, 300)
    figures = outcome(time_search, label, num_items, num_users)
    send(Row("search", f"exact top {K} of {num_items:,}, d = {DIM}, {num_users:,} users", label, figures))


def time_search(label: str, num_items: int, num_users: int) -> Figures:
    generator = np.random.default_rng(0)
    items_ND = unit_rows(generator.standard_normal((num_items, DIM), np.float32))
    users_BD = generator.standard_normal((num_users, DIM), np.float32)
    ask = SEARCHES[label](items_ND)
    recall = recall_of(ask(users_BD[:USERS])[:CHECKED], items_ND, users_BD[:CHECKED])  # and a warm-up
    started = time.perf_counter()
    ask(users_BD)
    return {"users/s": num_users / (time.perf_counter() - started), "recall": recall}


def recall_of(found_BK: Array, items_ND: Array, users_BD: Array) -> float:
    """The share of the true K best, by float64, that was found; rows count from 0."""
    scores_BN = (
        torch.from_numpy(users_BD).to(rows.DEVICE).double() @ torch.from_numpy(items_ND).to(rows.DEVICE).double().T
    )
    best_BK = scores_BN.topk(K, dim=1).indices.cpu().numpy()
    return recall_at(found_BK + 1, best_BK + 1)  # as positions, which count from 1


Ask = Callable[[Array], Array]  # users [B, D] to rows [B, K], from 0


def by_topk(items_ND: Array) -> Ask:
    items = torch.from_numpy(items_ND).to(rows.DEVICE)
    chunk = max(1, 2**28 // len(items))  # 1 GiB of scores

    def ask(users_BD: Array) -> Array:
        users = torch.from_numpy(users_BD).to(rows.DEVICE)
        return torch.cat([(part @ items.T).topk(K, dim=1).indices for part in torch.split(users, chunk)]).cpu().numpy()

    return ask


def by_faiss(items_ND: Array) -> Ask:
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        raise ModuleNotFoundError(name="a faiss that sees the GPU (the extra cuda-search)")
    resources, flat = faiss.StandardGpuResources(), faiss.IndexFlatIP(items_ND.shape[1])
    flat.add(items_ND)
    index = faiss.index_cpu_to_gpu(resources, 0, flat)
    return lambda users_BD: index.search(users_BD, K)[1]


def by_flashlib(items_ND: Array) -> Ask:
    from flashlib import flash_knn  # type: ignore[import-not-found]

    items = torch.from_numpy(items_ND).to(rows.DEVICE)

    def ask(users_BD: Array) -> Array:
        found: Tensor = flash_knn(torch.from_numpy(users_BD).to(rows.DEVICE), items, K, return_distances=False)
        return found.cpu().numpy()

    return ask


def by_item_index(items_ND: Array) -> Ask:
    from recsys.search import ItemIndex

    index = ItemIndex.build(np.concatenate([np.zeros_like(items_ND[:1]), items_ND]), kind="exact", device=rows.DEVICE)
    return lambda users_BD: index.search(users_BD, K)[0] - 1


SEARCHES = {
    OURS: by_item_index,
    "matmul and torch.topk in chunks": by_topk,
    "FAISS, flat": by_faiss,
    "FlashLib, flash_knn": by_flashlib,
}


def parities(send: Send) -> None:
    num_items, num_users = sized(100_000, 2_000), sized(4_096, 50)
    work = f"top {K} of {num_items:,} with ties, {num_users:,} users with exclusions"
    send(Row("search", work, f"{OURS}, against the CPU", outcome(parity, num_items, num_users)))


def parity(num_items: int, num_users: int) -> Figures:
    """Items of which every tenth is a copy of another, so that there are ties to break."""
    from recsys.data import Jagged
    from recsys.search import ItemIndex

    generator = np.random.default_rng(0)
    vectors_ND = generator.normal(size=(num_items + 1, DIM)).astype(np.float32)
    vectors_ND[0] = 0.0
    vectors_ND[10::10] = vectors_ND[9:-1:10]
    users_BD = generator.normal(size=(num_users, DIM)).astype(np.float32)
    lengths_B = generator.integers(0, 50, num_users)
    excluded = Jagged.from_lengths(generator.integers(1, num_items + 1, lengths_B.sum()).astype(np.int32), lengths_B)
    answers = [
        ItemIndex.build(vectors_ND, kind="exact", device=device).search(users_BD, K, excluded=excluded)
        for device in ("cpu", rows.DEVICE)
    ]
    (cpu_BK, cpu_scores_BK), (gpu_BK, gpu_scores_BK) = answers
    different = int((cpu_BK != gpu_BK).any(axis=1).sum())
    difference = float(np.abs(cpu_scores_BK - gpu_scores_BK).max())
    figures: Figures = {"users with other answers": different, "largest difference of a score": difference}
    return figures | {"failed": "the answers differ"} if different else figures
