"""The IVF index kind: vectors in lists around centroids, of which a search probes the nearest."""

from typing import Any

import faiss

from .faiss_index import MAX_GPU_SELECTION, FaissKind, faiss_threads
from .index_spec import IndexSpec
from .recall import RECALL_K
from .vectors import Float32

MAX_LISTS = 4_096  # reached at a million items, from where on building costs no more per item
POINTS_PER_LIST = 64  # that k-means learns from; FAISS's 256 take four times as long for a recall .01 higher
QUANTIZER_BATCH = 16  # FAISS ranks the lists of larger batches with BLAS, whose rounding depends on the batch


def build(vectors_ND: Float32) -> tuple[Any, list[IndexSpec]]:
    """About 4 * sqrt(N) lists of the rows of [N + 1, D], and specs from fast to thorough.

    At most MAX_LISTS lists, each of 39 items or more (FAISS warns of fewer). The fastest setting probes about 400
    items, because a user with fewer than 100 answers would cost an exact search. The most thorough probes every list,
    so that any recall can be reached.
    """
    num_items, dim = len(vectors_ND) - 1, vectors_ND.shape[1]
    num_lists = max(1, min(int(4 * num_items**0.5), num_items // 39, MAX_LISTS))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, num_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = POINTS_PER_LIST
    with faiss_threads(1):
        index.train(vectors_ND[1:])
        index.add(vectors_ND[1:])
    fewest = min(num_lists, -(-4 * RECALL_K * num_lists // num_items))
    powers = (2**exponent for exponent in range(num_lists.bit_length()))
    ladder = [num_probes for num_probes in powers if fewest <= num_probes < num_lists] + [num_lists]
    return index, [IndexSpec("ivf", num_lists=num_lists, num_probes=num_probes) for num_probes in ladder]


def _configure(index: Any, spec: IndexSpec) -> None:
    index.nprobe = spec.num_probes


IVF = FaissKind(
    "IndexIVFFlat", build, _configure, lambda spec: (spec.num_probes or 0) <= MAX_GPU_SELECTION, QUANTIZER_BATCH
)
