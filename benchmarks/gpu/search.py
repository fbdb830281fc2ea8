"""The exact top 100 of a million items, and whether the index answers on the GPU as on the CPU.

Legend: N items, B users, D dimensions, K answers.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.gpu import rows
from benchmarks.gpu.rows import Row, apart
from recsys.search import recall_at, unit_rows

Array = npt.NDArray[Any]
ITEMS, USERS, DIM, K, CHECKED = 1_000_000, 65_536, 64, 100, 64
PASSES, PATIENCE = 3, 60.0  # no further pass begins after so many seconds


def searches() -> Iterator[Row]:
    for label in SEARCHES:
        result = apart(time_search, (label, ITEMS, USERS))[0]
        yield Row("search", f"top {K} of {ITEMS:,}, d = {DIM}, {USERS:,} users", label, result)


def time_search(label: str, num_items: int, num_users: int) -> str:
    generator = np.random.default_rng(0)
    items_ND = unit_rows(generator.normal(size=(num_items, DIM)).astype(np.float32))
    users_BD = generator.normal(size=(num_users, DIM)).astype(np.float32)
    ask = SEARCHES[label](items_ND)
    recall = recall_of(ask(users_BD)[:CHECKED], items_ND, users_BD[:CHECKED])
    taken: list[float] = []
    while len(taken) < PASSES and sum(taken) < PATIENCE:
        started = time.perf_counter()
        ask(users_BD)
        taken.append(time.perf_counter() - started)
    return f"{num_users / statistics.median(taken):,.0f} users/s, recall {recall:.5f}"


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
    faiss = gpu_faiss()
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
    gpu_faiss()
    from recsys.search import ItemIndex

    index = ItemIndex.build(np.concatenate([np.zeros_like(items_ND[:1]), items_ND]), kind="exact", device=rows.DEVICE)
    return lambda users_BD: index.search(users_BD, K)[0] - 1


def gpu_faiss() -> Any:
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        raise ModuleNotFoundError(name="a faiss that sees the GPU (faiss-gpu-cuvs in place of faiss-cpu)")
    return faiss


SEARCHES = {
    "matmul + torch.topk, chunked": by_topk,
    "FAISS-GPU flat": by_faiss,
    "FlashLib flash_knn": by_flashlib,
    "ours, ItemIndex on cuda": by_item_index,
}


def parities() -> Iterator[Row]:
    result = apart(parity, (100_000, 4_096))[0]
    yield Row("parity", "top 100 of 100,000 with ties, 4,096 users with exclusions", "ItemIndex, cuda and cpu", result)


def parity(num_items: int, num_users: int) -> str:
    """Items of which every tenth is a copy of another, so that there are ties to break."""
    if rows.DEVICE == "cuda":
        gpu_faiss()
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
    score = float(np.abs(cpu_scores_BK - gpu_scores_BK).max())
    found = f"positions differ for {different:,} of {num_users:,} users, scores by at most {score:.1e}"
    return f"failed: {found}" if different else found
