"""The HNSW index kind: a graph in which each item is linked to similar ones (Malkov & Yashunin 2018)."""

from dataclasses import replace
from typing import Any

import faiss
import numpy as np

from .faiss_file import Bytes, FaissFile, require, same_bytes
from .faiss_index import FaissKind, faiss_threads
from .index_spec import IndexSpec
from .vectors import Float32

EF_SEARCH_LADDER = (128, 256, 512, 1024, 2048)  # FAISS raises ef to the number to fetch, and 100 answers fetch 128
M, EF_CONSTRUCTION = 32, 400
MAX_M, MAX_EF = 512, 1 << 16  # FAISS allocates in proportion to them


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


def check(content: Bytes, vectors_ND: Float32, spec: IndexSpec) -> None:
    """Raise InputError unless a file holds a graph of the vectors [N + 1, D] without the first, all links of which lead
    to items that are on the same level.
    """
    file, (num_items, dim) = FaissFile(content), (len(vectors_ND) - 1, vectors_ND.shape[1])
    num_links = spec.m or 0
    require(0 < num_links <= MAX_M and 0 < (spec.ef_search or 0) <= MAX_EF, "model.json asks for another graph")
    file.header(b"IHNf", num_items, dim)
    empty = faiss.HNSW(num_links)
    places = faiss.vector_to_array(empty.cum_nneighbor_per_level)  # where an item's links of each level begin
    file.numbers("<f8", file.number("<u8"))  # by which new items would get their levels
    require(np.array_equal(file.vector("<i4"), places), "it has another number of links")
    num_levels, offsets, links = file.vector("<i4"), file.vector("<u8"), file.vector("<i4")
    require(len(num_levels) == num_items, "it has another number of items")
    require(num_levels.min() >= 1 and num_levels.max() < len(places), "an item is on a level that there is not")
    require(np.array_equal(offsets, np.append(0, places[num_levels].cumsum(dtype=np.int64))), "its links are misplaced")
    require(len(links) == offsets[-1] and links.min() >= -1 and links.max() < num_items, "a link leads nowhere")
    for level in range(1, int(num_levels.max())):
        starts = offsets[:-1][num_levels > level].astype(np.int64)
        linked = links[starts[:, None] + np.arange(places[level], places[level + 1])]
        require((num_levels[linked[linked >= 0]] > level).all(), "a link leads to an item of a lower level")
    entry, max_level, *_ = file.numbers("<i4", 5).tolist()  # the others are settings of building and searching
    require(0 <= entry < num_items and max_level == num_levels.max() - 1, "a search of it starts nowhere")
    require(num_levels[entry] - 1 == max_level, "a search of it does not start at the top")
    require(same_bytes(file.flat(num_items, dim), vectors_ND[1:]), "its vectors are others")
    file.end()


def _configure(index: Any, spec: IndexSpec) -> None:
    index.hnsw.efSearch = spec.ef_search


HNSW = FaissKind(build, check, _configure, fits_gpu=lambda spec: False)  # FAISS has no HNSW for GPUs
