"""The k items with the highest inner product for each user: a source proposes candidates, float64 decides.

An exact index on the CPU takes its candidates from exact_batch.py for many users, and from exact_request.py for a few
where the CPU multiplies bytes, at several times the speed of FAISS's flat index. The kind "bytes" is exact, too, and
keeps only bytes in memory. Every other index asks FAISS for candidates. On a GPU, exact_device.py does all of an exact
search, and scores and sorts the candidates of an IVF index.

The kinds of index, and how to add one, are in index_kinds.py.

Legend: B users, N items, D dimensions, C candidates, K answers. A *position* is a row of the catalogue matrix
[N + 1, D]; row 0 is "unknown", never an answer, and pads short answers with score -inf.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from operator import call
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Int32, Int64, Jagged
from ..errors import InputError
from .candidates import BlockEligibility, CandidateSource, Eligibility, WholeCatalogue
from .exact_batch import TiledCatalogue
from .exact_device import DeviceCatalogue
from .exact_request import QuantizedCatalogue
from .faiss_file import Bytes
from .faiss_index import FaissCandidates, choose_device, require_device
from .flat import FLAT
from .index_kinds import FEWEST_CODED, KINDS, kind_by_size
from .index_spec import IndexSpec
from .recall import RECALL_K, recall_at
from .rescoring import padding, top_k
from .threads import SMALL_BATCH, one_thread_if_few, run_parallel
from .vectors import Bool, Float32, check_request, check_vectors, norms

MAX_SAMPLE = 1_000  # users on whom recall is measured
MARGIN = 16  # candidates fetched beyond need, so that the k-th answer is rarely the last candidate
MAX_FETCH = 8192  # beyond it, scoring every item costs little more than a longer list
SUBSET_SHARE = 4  # an allow-list of up to a quarter of the catalogue is searched as a catalogue of its own
QUANTIZED_SUBSET_SHARE = 16  # the same for a few users of a quantized catalogue, which is read faster
LONGEST = 1e18  # the length of a vector; scores of longer ones may not fit float32, so FAISS and float64 find them
BLOCK_PAIRS = 2**21  # (user, item) pairs that a thread scores at once: bounds its memory to about 100 MB


@dataclass(frozen=True)
class _Top:
    """The answers of a block of users, and whether they are final.

    users: [B] their rows in the batch. positions, scores: as ``search`` returns them. settled: [B] whether certainly no
    item that was not a candidate belongs among the answers.
    """

    users: Int64
    positions: Int32
    scores: Float32
    settled: Bool


class ItemIndex:
    """Top-k items by inner product, with exclusions and allow-lists. Searching changes no state.

    spec: what it is. device: the name of the device that searches, as it was given.
    """

    def __init__(
        self, index: Any, vectors_ND: Float32, spec: IndexSpec, *, device: str = "cpu", quantize: bool = True
    ) -> None:
        """quantize: whether to prepare for small batches too, which a single search is not worth."""
        self.spec, self.device = spec, device
        self.num_items = len(vectors_ND) - 1
        self._vectors_ND = vectors_ND
        self._max_norm = float(norms(vectors_ND[1:]).max())
        self._max_fetch = min(MAX_FETCH, self.num_items // 4)
        self._index = index
        self._indexed = KINDS[spec.kind].source(index, spec, max_norm=self._max_norm, device=device)
        is_exact, target = spec.is_exact, choose_device(device)
        self._gpu_index = self._indexed.gpu_index if isinstance(self._indexed, FaissCandidates) else None
        on_device = target.type != "cpu" and self._max_norm < LONGEST and (is_exact or self._gpu_index is not None)
        self._on_device = DeviceCatalogue(vectors_ND, self._max_norm, target) if on_device else None
        self._is_tiled = is_exact and not on_device and self._max_norm < LONGEST
        self._codes: QuantizedCatalogue | None = index if spec.kind == "bytes" else None
        pays = QuantizedCatalogue.pays(vectors_ND.shape[1], has_codes=self._codes is not None)
        self._is_quantized = self._is_tiled and quantize and pays

    @staticmethod
    def build(
        vectors_ND: Float32,
        *,
        kind: str = "auto",
        target_recall: float = 0.98,
        query_vectors_BD: Float32 | None = None,
        device: str = "cpu",
    ) -> "ItemIndex":
        """Index a catalogue; the same input gives the same bytes.

        An approximate index takes the fastest search setting whose recall@100 reaches ``target_recall``, or the most
        thorough one if none does.

        Args:
            vectors_ND: [N + 1, D] float32, C-contiguous, finite; row 0 is "unknown".
            kind: a name in KINDS, or "auto": exact up to 500,000 items, IVF beyond, and IVF of codes where the vectors
                take more than 4 GiB. Too few items for codes, fewer than 1,000, become bytes.
            target_recall: above 0, at most 1.
            query_vectors_BD: user vectors to measure recall on, at most 1,000 of them, evenly spaced. Without them item
                vectors stand in, whose recall says little about users.
            device: "cpu", "cuda" or "auto" (a GPU if there is one). HNSW stays on the CPU, and so does an IVF index
                that must probe more than 2,048 lists. For a user who needs more than 2,048 candidates from an IVF index
                on a GPU, the search there is exact.

        Raises:
            InputError: for a malformed matrix, kind, target or device.
        """
        check_vectors(vectors_ND)
        if kind != "auto" and kind not in KINDS:
            names = ["auto", *KINDS]
            raise InputError(f"index kind is {kind!r}, expected {', '.join(names[:-1])} or {names[-1]}")
        if not 0 < target_recall <= 1:
            raise InputError(f"target_recall is {target_recall}, expected more than 0 and at most 1")
        if query_vectors_BD is not None and len(query_vectors_BD) == 0:
            raise InputError("query_vectors_BD has no rows, expected user vectors; leave it out to measure on items")
        if kind == "auto":
            kind = kind_by_size(vectors_ND)
        if kind == "codes" and len(vectors_ND) - 1 < FEWEST_CODED:
            kind = "bytes"
        require_device(device, kind)  # before a long build
        index, specs = KINDS[kind].build(vectors_ND)
        if specs[0].is_exact:
            spec = replace(specs[0], recall=1.0)
        else:
            queries_BD = vectors_ND[1:] if query_vectors_BD is None else query_vectors_BD
            spec = _fastest(index, vectors_ND, specs, target_recall, queries_BD)
        spec = replace(spec, target_recall=target_recall)
        return ItemIndex(index, vectors_ND, spec, device=device)

    def save(self, path: Path) -> None:
        """Write the index alone. The caller keeps the spec and the vectors."""
        KINDS[self.spec.kind].write(self._index, path)

    @staticmethod
    def load(content: Bytes, vectors_ND: Float32, spec: IndexSpec, *, device: str = "cpu") -> "ItemIndex":
        """Read what ``save`` wrote, from the content of its file.

        Raises InputError if it is not an index of these vectors and this spec.
        """
        check_vectors(vectors_ND)
        if spec.kind not in KINDS:
            raise InputError(f"index kind is {spec.kind!r}, expected one of {', '.join(KINDS)}")
        index = KINDS[spec.kind].read(content, vectors_ND, spec)
        return ItemIndex(index, vectors_ND, spec, device=device)

    def search(
        self, users_BD: Float32, k: int, *, excluded: Jagged | None = None, allowed: Bool | None = None
    ) -> tuple[Int32, Float32]:
        """The ``k`` best eligible items of every user, or all of them if fewer are eligible.

        Scores are float64 inner products rounded once, so an answer never depends on who else is in the batch. An exact
        index answers exactly; an approximate one may miss items (see ``IndexSpec.recall``) but never returns fewer, or
        ineligible ones.

        Args:
            users_BD: [B, D] float32, finite.
            k: at least 1.
            excluded: a row of positions per user, which that user must not get; zeros, duplicates and any order are
                fine.
            allowed: [N + 1] bool, what anyone may get; None: everything.

        Returns:
            Positions [B, k] int32 and scores [B, k] float32, by score descending, then position ascending, padded with
            0 and -inf.

        Raises:
            InputError: for wrong shapes, values that are not finite, k < 1 or positions outside the catalogue.
        """
        users_BD = np.ascontiguousarray(users_BD, np.float32)
        check_request(users_BD, k, excluded, allowed, num_items=self.num_items, dim=self._vectors_ND.shape[1])
        if self._on_device is not None and norms(users_BD).max(initial=0) < LONGEST:
            return self._on_device.search(users_BD, k, excluded, allowed, self._gpu_index)
        search = partial(self._search, users_BD, k, excluded, allowed)
        return one_thread_if_few(len(users_BD), search) if self._is_quantized else search()  # FAISS counts its threads

    def _search(
        self, users_BD: Float32, k: int, excluded: Jagged | None, allowed: Bool | None
    ) -> tuple[Int32, Float32]:
        """Search a small allow-list as a catalogue of its own; else fetch candidates until all answers are settled."""
        num_allowed = self.num_items
        if allowed is not None:
            num_allowed = int(np.count_nonzero(allowed[1:]))
            few_users = self._is_quantized and len(users_BD) < SMALL_BATCH
            if num_allowed * (QUANTIZED_SUBSET_SHARE if few_users else SUBSET_SHARE) <= self.num_items:
                return self._search_subset(users_BD, k, excluded, allowed)
        source = self._source(users_BD)
        eligible = Eligibility(self.num_items, len(users_BD), excluded, allowed)
        need_B = np.full(len(users_BD), min(k, self.num_items) + MARGIN)
        if not source.leaves_out:
            need_B = (need_B + eligible.num_excluded) * (self.num_items / num_allowed)
        fetch_B = 2 ** np.ceil(np.log2(need_B)).astype(np.int64)
        positions_BK, scores_BK = padding(len(users_BD), k)
        unsettled = np.arange(len(users_BD))
        while len(unsettled):
            fetch_B[fetch_B > self._max_fetch] = self.num_items
            blocks = self._blocks(unsettled, fetch_B[unsettled], source.max_users or len(unsettled))
            tops = [partial(self._top, users_BD, fetch, k, eligible.of(block), source) for block, fetch in blocks]
            still_unsettled = []
            for top in run_parallel(tops) if source.parallel else map(call, tops):
                num_answers = top.positions.shape[1]
                positions_BK[top.users, :num_answers] = top.positions
                scores_BK[top.users, :num_answers] = top.scores
                still_unsettled.append(top.users[~top.settled])
            unsettled = np.concatenate(still_unsettled)
            fetch_B[unsettled] *= 2
            if not self.spec.is_exact:  # a graph or a few lists that came up short would do so again
                is_short = positions_BK[unsettled, min(k, self.num_items) - 1] == 0
                fetch_B[unsettled[is_short]] = self.num_items
        return positions_BK, scores_BK

    def _blocks(self, user_B: Int64, fetch_B: Int64, max_users: int) -> Iterator[tuple[Int64, int]]:
        """Blocks of bounded size of users who fetch equally many candidates, and that number."""
        for fetch in np.unique(fetch_B).tolist():
            same_fetch = user_B[fetch_B == fetch]
            step = min(max_users, max(1, BLOCK_PAIRS // fetch))
            for start in range(0, len(same_fetch), step):
                yield same_fetch[start : start + step], fetch

    def _top(self, users_BD: Float32, fetch: int, k: int, eligible: BlockEligibility, source: CandidateSource) -> _Top:
        """The best among ``fetch`` candidates of each user of a block. users_BD: of the whole batch."""
        users_BD = users_BD[eligible.users]
        num_users, everything = len(users_BD), fetch == self.num_items
        if everything:
            source = WholeCatalogue()
        candidates = source.candidates(users_BD, fetch, eligible)
        if candidates.positions.shape[1] < min(k, fetch):
            return _Top(eligible.users, *padding(num_users, 0), np.zeros(num_users, bool))
        positions_BC = candidates.positions if num_users < SMALL_BATCH else candidates.possible_top(k)
        positions_BK, scores_BK = top_k(self._vectors_ND, users_BD, positions_BC, k)
        settled_B = (scores_BK[:, -1] > candidates.floor + candidates.error) | everything
        return _Top(eligible.users, positions_BK, scores_BK, settled_B)

    def _source(self, users_BD: Float32) -> CandidateSource:
        """The fastest source of candidates for these users."""
        if self._is_tiled and norms(users_BD).max(initial=0) < LONGEST:
            if len(users_BD) >= SMALL_BATCH:
                return self._tiled
            if self._is_quantized:
                return self._quantized
        return self._indexed

    def rows(self, positions: Int64) -> Float32:
        """The vectors at some positions."""
        return self._vectors_ND[positions]

    def vectors(self) -> Tensor:
        """The catalogue matrix [N + 1, D] on the device: the index's own copy where it has one."""
        if self._on_device is not None:
            return self._on_device.items
        return torch.from_numpy(self._vectors_ND).to(choose_device(self.device))

    @cached_property
    def _tiled(self) -> TiledCatalogue:
        return TiledCatalogue(self._vectors_ND, self._max_norm, self._codes)

    @cached_property
    def _quantized(self) -> QuantizedCatalogue:
        return QuantizedCatalogue(self._vectors_ND) if self._codes is None else self._codes

    def _search_subset(
        self, users_BD: Float32, k: int, excluded: Jagged | None, allowed: Bool
    ) -> tuple[Int32, Float32]:
        """Exact answers among few allowed items, which become a catalogue of their own, in the same order."""
        rows = np.concatenate(([0], 1 + np.flatnonzero(allowed[1:]))).astype(np.int32)
        if len(rows) == 1:
            return padding(len(users_BD), k)
        if excluded is not None:
            position_in_subset = np.zeros(self.num_items + 1, np.int32)
            position_in_subset[rows] = np.arange(len(rows))
            excluded = Jagged(position_in_subset[excluded.values.astype(np.int64)], excluded.offsets)
        vectors_ND = self._vectors_ND[rows]
        index, specs = FLAT.build(vectors_ND)
        subset = ItemIndex(index, vectors_ND, specs[0], quantize=False)
        positions_BK, scores_BK = subset.search(users_BD, k, excluded=excluded)
        return rows[positions_BK], scores_BK


def _fastest(
    index: Any, vectors_ND: Float32, specs: list[IndexSpec], target_recall: float, queries_BD: Float32
) -> IndexSpec:
    """The first of the specs that reaches the recall, or the last one, with its recall@100 on a sample of queries."""
    queries_BD = queries_BD[np.unique(np.linspace(0, len(queries_BD) - 1, MAX_SAMPLE).astype(np.int64))]
    exact_BK, _ = ItemIndex.build(vectors_ND, kind="exact").search(queries_BD, RECALL_K)
    for spec in specs:
        approx_BK, _ = ItemIndex(index, vectors_ND, spec).search(queries_BD, RECALL_K)
        recall = recall_at(approx_BK, exact_BK)
        if recall >= target_recall:
            break
    return replace(spec, recall=recall)
