"""The HNSW index kind: a graph in which each item is linked to similar ones (Malkov & Yashunin 2018)."""

from dataclasses import replace
from typing import Any

import faiss

from .faiss_index import FaissKind, faiss_threads
from .index_spec import IndexSpec
from .vectors import Float32

EF_SEARCH_LADDER = (128, 256, 512, 1024, 2048)  # FAISS raises ef to the number to fetch, and 100 answers fetch 128
M, EF_CONSTRUCTION = 32, 400


def build(vectors_ND: Float32) -> tuple[Any, list[IndexSpec]]:
    """A graph over inner products of the rows of [N + 1, D], and specs from fast to thorough.

    The textbook reduction to L2 (one more coordinate evens out the lengths) was measured and rejected: where lengths
    vary, that coordinate outweighs all others and recall collapses.
    """
    index = faiss.IndexHNSWFlat(vectors_ND.shape[1], M, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    with faiss_threads(1):  # several threads would link the graph in an order that varies
        index.add(vectors_ND[1:])
    spec = IndexSpec("hnsw", m=M, ef_construction=EF_CONSTRUCTION)
    return index, [replace(spec, ef_search=ef_search) for ef_search in EF_SEARCH_LADDER]


def _configure(index: Any, spec: IndexSpec) -> None:
    index.hnsw.efSearch = spec.ef_search


HNSW = FaissKind("IndexHNSWFlat", build, _configure, fits_gpu=lambda spec: False)  # FAISS has no HNSW for GPUs
