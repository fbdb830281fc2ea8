"""FAISS's own indexes: flat, HNSW, IVF; what one is, how it is built, and where it can run.

Legend: N items, D dimensions. A catalogue matrix is [N + 1, D] float32; row 0 is "unknown" and not indexed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import faiss

from ..errors import InputError
from .rescoring import Float32

Kind = Literal["exact", "hnsw", "ivf"]

RECALL_K = 100
EF_SEARCH_LADDER = (128, 256, 512, 1024, 2048)  # faiss raises ef to the fetch size, and 100 answers fetch 128
HNSW_M, HNSW_EF_CONSTRUCTION = 32, 400
MAX_LISTS = 4_096  # of IVF, reached beyond a million items: from there on, to build costs an item no more
POINTS_PER_LIST = 64  # that k-means learns from; faiss's 256 take four times as long for a recall .01 higher


@dataclass(frozen=True)
class IndexSpec:
    """What an index is: stored as JSON (``dataclasses.asdict``) beside its file.

    recall: mean recall@100 against exact search, measured at build time (exact: 1.0). It may fall short of
    ``target_recall`` where no setting tried reached it. Parameters of other kinds are None.
    """

    kind: Kind
    recall: float | None = None
    target_recall: float | None = None
    m: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None
    num_lists: int | None = None
    num_probes: int | None = None


def flat(vectors_ND: Float32) -> Any:
    """All vectors side by side: the exact index."""
    index = faiss.IndexFlatIP(vectors_ND.shape[1])
    index.add(vectors_ND[1:])
    return index


def hnsw(vectors_ND: Float32) -> tuple[Any, list[IndexSpec]]:
    """A graph built on inner products, and specs from cheap to thorough.

    The textbook reduction to L2 (one more coordinate evens out the norms) was measured and rejected: where norms
    spread, that coordinate outweighs all others and recall collapses.
    """
    index = faiss.IndexHNSWFlat(vectors_ND.shape[1], HNSW_M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW_EF_CONSTRUCTION
    with faiss_threads(1):  # several threads may link the graph in any order
        index.add(vectors_ND[1:])
    spec = IndexSpec("hnsw", m=HNSW_M, ef_construction=HNSW_EF_CONSTRUCTION)
    return index, [replace(spec, ef_search=ef_search) for ef_search in EF_SEARCH_LADDER]


def ivf(vectors_ND: Float32) -> tuple[Any, list[IndexSpec]]:
    """About 4 * sqrt(N) lists, MAX_LISTS at most, each of 39 items or more (faiss warns below), and specs, cheap first.

    The cheapest setting probes some 400 items: a user left short of 100 answers would cost an exact search. The most
    thorough probes every list, so that any recall can be reached.
    """
    num_items, dim = len(vectors_ND) - 1, vectors_ND.shape[1]
    num_lists = max(1, min(int(4 * num_items**0.5), num_items // 39, MAX_LISTS))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, num_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = POINTS_PER_LIST
    with faiss_threads(1):
        index.train(vectors_ND[1:])
        index.add(vectors_ND[1:])
    fewest = min(num_lists, -(-4 * RECALL_K * num_lists // num_items))
    ladder = [p for p in (2**i for i in range(num_lists.bit_length())) if fewest <= p < num_lists] + [num_lists]
    return index, [IndexSpec("ivf", num_lists=num_lists, num_probes=num_probes) for num_probes in ladder]


def use_gpu(device: str) -> bool:
    """Whether to search on the GPU. Raises InputError for an unknown device, or "cuda" where faiss has no GPU."""
    if device not in ("cpu", "cuda", "auto"):
        raise InputError(f"index device is {device!r}, expected cpu, cuda or auto")
    if device == "cuda" and not num_gpus():
        raise InputError(
            "index device is 'cuda', but this faiss sees no GPU; install the cuda extra (faiss-gpu-cuvs) on a machine "
            "with an NVIDIA GPU, or use device 'auto' or 'cpu'"
        )
    return device != "cpu" and num_gpus() > 0


def num_gpus() -> int:
    """How many GPUs this faiss can search on; 0 for its CPU build."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


@contextmanager
def faiss_threads(count: int) -> Iterator[None]:
    """Run faiss with ``count`` threads. The setting belongs to the calling thread and is put back."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
