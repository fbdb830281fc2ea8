"""The IVF index kinds: vectors or codes in lists around centroids, of which a search probes the nearest."""

from typing import Any

import faiss
import numpy as np

from .faiss_file import Bytes, FaissFile, require, same_bytes
from .faiss_index import MAX_GPU_SELECTION, FaissKind, faiss_threads
from .index_spec import IndexSpec
from .recall import RECALL_K
from .vectors import Float32

MAX_LISTS = 4_096  # reached at a million items, from where on building costs no more per item
POINTS_PER_LIST = 64  # that k-means learns from; FAISS's 256 take four times as long for a recall .01 higher
CODE_BITS, CODES_AT_ONCE = 4, 32
ONE_BY_ONE = 11  # FAISS's way of scanning that takes the users of a batch each alone
OVERFETCH, MAX_OVERFETCH = (1, 2, 4, 8, 16), 1 << 10
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


def check(content: Bytes, vectors_ND: Float32, spec: IndexSpec) -> None:
    """Raise InputError unless a file holds the lists of the spec, and each vector [N + 1, D] but the first in one."""
    file, (num_items, dim) = FaissFile(content), (len(vectors_ND) - 1, vectors_ND.shape[1])
    num_lists = spec.num_lists or 0
    require(0 < (spec.num_probes or 0) <= num_lists <= num_items, "model.json asks for other lists")
    _check_lists(file, b"IwFl", num_lists, num_items, dim)
    file.expect("4sQQ", b"ilar", num_lists, 4 * dim)
    is_seen = np.zeros(num_items, bool)
    for size in _list_sizes(file, num_lists, num_items):
        codes, ids = file.take(4 * dim * size), file.numbers("<i8", size)
        require(not size or (ids.min() >= 0 and ids.max() < num_items), "a list names an item that there is not")
        require(same_bytes(codes, vectors_ND[1:][ids]), "its vectors are others")
        is_seen[ids] = True
    require(is_seen.all(), "an item is in no list")
    file.end()


def _check_lists(file: FaissFile, kind: bytes, num_lists: int, num_items: int, dim: int) -> None:
    """Read the header of an IVF index, and its centroids."""
    file.header(kind, num_items, dim)
    file.expect("Q", num_lists)
    file.number("<u8")  # the lists to probe: model.json says how many
    require(np.isfinite(file.flat(num_lists, dim).view("<f4")).all(), "a centroid is not finite")
    file.expect("bQ", 0, 0)  # no map from items to lists


def _list_sizes(file: FaissFile, num_lists: int, num_items: int) -> list[int]:
    """How many items each list has; they add up to ``num_items``, so that no item is in two lists if all are in one."""
    layout = file.take(4).tobytes()
    stored = file.vector("<u8")
    sizes = stored
    if layout == b"sprs":
        require(len(stored) % 2 == 0, "its lists have no sizes")
        numbers, sizes = stored[::2].astype(np.float64), stored[1::2]
        require((np.diff(numbers, prepend=-1, append=num_lists) > 0).all(), "its lists are out of order")
    else:
        require(layout == b"full" and len(sizes) == num_lists, "it has another number of lists")
    require(sizes.sum(dtype=np.float64) == num_items, "its lists hold more items, or fewer")
    return [int(size) for size in sizes]


def _configure(index: Any, spec: IndexSpec) -> None:
    index.nprobe = spec.num_probes


IVF = FaissKind(build, check, _configure, lambda spec: (spec.num_probes or 0) <= MAX_GPU_SELECTION, QUANTIZER_BATCH)


def build_codes(vectors_ND: Float32) -> tuple[Any, list[IndexSpec]]:
    """Codes of 4 bits for each number of the rows of [N + 1, D], in lists, and specs from fast to thorough.

    Codes are compared 32 items at a time, from registers (André, Kermarrec and Le Scouarnec 2017; FAISS's "fast scan").
    The number of items to score for each one that is wanted makes up for what the codes lose. An item takes as many
    bytes as half its numbers, and 8 for its row.
    """
    num_items, dim = len(vectors_ND) - 1, vectors_ND.shape[1]
    num_lists = max(1, min(int(num_items**0.5 / 2), num_items // 39, MAX_LISTS))
    quantizer = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFPQFastScan(quantizer, dim, num_lists, dim, CODE_BITS, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = POINTS_PER_LIST
    with faiss_threads(1):
        index.train(vectors_ND[1:])
        index.add(vectors_ND[1:])
    index.implem = ONE_BY_ONE
    probes = {*(2**exponent for exponent in range(num_lists.bit_length())), num_lists}
    ladder = [(num_probes, overfetch) for num_probes in probes for overfetch in OVERFETCH]

    def cost(setting: tuple[int, int]) -> float:
        """In items to score, each of which takes as long as 100 codes."""
        return setting[0] * num_items / num_lists / 100 + setting[1] * 128

    return index, [
        IndexSpec("codes", num_lists=num_lists, num_probes=num_probes, overfetch=overfetch)
        for num_probes, overfetch in sorted(ladder, key=cost)
    ]


def check_codes(content: Bytes, vectors_ND: Float32, spec: IndexSpec) -> None:
    """Raise InputError unless a file holds the lists of the spec, with each row of [N + 1, D] but the first in one."""
    file, (num_items, dim) = FaissFile(content), (len(vectors_ND) - 1, vectors_ND.shape[1])
    num_lists, code_size, padded = spec.num_lists or 0, -(-dim // 2), dim + dim % 2
    require(0 < (spec.num_probes or 0) <= num_lists <= num_items, "model.json asks for other lists")
    require(0 < (spec.overfetch or 0) <= MAX_OVERFETCH, "model.json asks for too many items")
    _check_lists(file, b"IwPf", num_lists, num_items, dim)
    file.expect("?QiQiQ", False, code_size, CODES_AT_ONCE, padded, ONE_BY_ONE, 0)
    file.expect("QQQ", dim, dim, CODE_BITS)
    levels = file.vector("<f4")
    require(len(levels) == dim << CODE_BITS and np.isfinite(levels).all(), "its codes stand for other numbers")
    block_bytes = CODES_AT_ONCE * padded // 2
    file.expect("4sQqQQ", b"ilbl", num_lists, -1, CODES_AT_ONCE, block_bytes)
    is_seen, num_seen = np.zeros(num_items, bool), 0
    for _ in range(num_lists):
        ids = file.vector("<i8")
        require(not len(ids) or (ids.min() >= 0 and ids.max() < num_items), "a list names an item that there is not")
        require(len(file.vector("u1")) == -(-len(ids) // CODES_AT_ONCE) * block_bytes, "a list has other codes")
        is_seen[ids] = True
        num_seen += len(ids)
    require(is_seen.all() and num_seen == num_items, "an item is in no list, or in two")
    file.end()


def _configure_codes(index: Any, spec: IndexSpec) -> None:
    index.nprobe, index.implem = spec.num_probes, ONE_BY_ONE


CODES = FaissKind(
    build_codes, check_codes, _configure_codes, fits_gpu=lambda spec: False, users_at_once=QUANTIZER_BATCH
)
