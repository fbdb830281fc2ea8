"""The k items with the highest inner product for each user: FAISS proposes candidates, float64 decides.

Exact candidates on the CPU come from exact_batch.py, for many users, or exact_request.py, for a few where the CPU
multiplies bytes, at several times the speed of a flat FAISS index.

Legend: B users, N items, D dimensions, F fetched candidates, K answers, P (user, item) pairs. A *position* is a row of
the catalogue matrix [N + 1, D]; row 0 is "unknown", never an answer, and pads short answers with score -inf.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from operator import call
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from ..data import Int32, Int64, Jagged
from ..errors import InputError
from .exact_batch import TILE_USERS, Tiles
from .exact_request import Scan
from .faiss_index import RECALL_K, IndexSpec, faiss_threads, flat, hnsw, ivf, use_gpu
from .rescoring import (
    FLOAT32_ERROR,
    FLOAT32_TINY,
    Bool,
    Eligibility,
    Float32,
    Float64,
    from_sort_keys,
    norms,
    padding,
    rescore,
    sort_keys,
)
from .threads import SMALL_BATCH, for_users, spread

EXACT_LIMIT = 500_000  # "auto" searches exactly up to this many items: 4 ms a user, and nothing missed
MAX_SAMPLE = 1_000  # users on whom recall is measured
MARGIN = 16  # fetched beyond need, so that the k-th answer is rarely the last candidate
MAX_FETCH = 8192  # beyond it, scoring every item costs little more than a longer list
MAX_GPU_SELECTION = 2048  # faiss on a GPU selects no more, of items to fetch or of lists to probe
SUBSET_SHARE = 4  # an allow-list under a quarter of the catalogue is searched as a catalogue of its own
SCANNED_SHARE = 16  # the same where reading all costs less
LONGEST = 1e18  # norm of a vector; scores of longer ones may not fit float32, and are FAISS's and float64's to find
BLOCK_PAIRS = 2**21  # scored at once by a thread: bounds what it holds to about 100 MB
QUANTIZER_BATCH = 16  # faiss ranks the lists of larger batches by BLAS, whose rounding depends on the batch

Catalogue = Tiles | Scan


class ItemIndex:
    """Top-k items by inner product, with exclusions and allow-lists. Searching changes no state."""

    spec: IndexSpec

    def __init__(
        self, faiss_index: Any, vectors_ND: Float32, spec: IndexSpec, *, device: str = "cpu", scan: bool = True
    ) -> None:
        """scan: whether it pays to make bytes of the vectors; not for a single request."""
        self.spec = spec
        self.num_items = len(vectors_ND) - 1
        self._vectors_ND = vectors_ND
        self._max_norm = float(norms(vectors_ND[1:]).max())
        self._max_fetch = min(MAX_FETCH, self.num_items // 4)
        self._faiss = faiss_index
        if spec.kind == "hnsw":
            faiss_index.hnsw.efSearch = spec.ef_search
        elif spec.kind == "ivf":
            faiss_index.nprobe = spec.num_probes
        self._gpu: Any = None
        fits_gpu = spec.kind != "hnsw" and (spec.num_probes or 0) <= MAX_GPU_SELECTION  # faiss has no HNSW for GPUs
        if use_gpu(device) and fits_gpu:
            self._gpu = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, self._faiss)
        self._tiled = spec.kind == "exact" and self._gpu is None and self._max_norm < LONGEST
        self._scans = self._tiled and scan and Scan.pays(vectors_ND.shape[1])

    @staticmethod
    def build(
        vectors_ND: Float32,
        *,
        kind: Literal["auto", "exact", "hnsw", "ivf"] = "auto",
        target_recall: float = 0.98,
        query_vectors_BD: Float32 | None = None,
        device: str = "cpu",
    ) -> "ItemIndex":
        """Index a catalogue matrix; same input, same bytes.

        vectors_ND: [N + 1, D] float32, C-contiguous, finite; row 0 is "unknown". kind: "auto" is exact up to 500,000
        items and IVF beyond. An approximate index takes the cheapest search setting whose recall@100 reaches
        ``target_recall`` on ``query_vectors_BD`` (real user vectors; at most 1,000 of them, evenly spaced), or the most
        thorough where none does. Without user vectors item vectors stand in; their recall says little about users.
        device: "cpu", "cuda" or "auto" (a GPU where there is one); HNSW, and IVF that must probe more than 2,048 lists,
        stay on the CPU.

        Raises InputError for a malformed matrix, kind, target or device.
        """
        _check_vectors(vectors_ND)
        if kind not in ("auto", "exact", "hnsw", "ivf"):
            raise InputError(f"index kind is {kind!r}, expected auto, exact, hnsw or ivf")
        if not 0 < target_recall <= 1:
            raise InputError(f"target_recall is {target_recall}, expected more than 0 and at most 1")
        if query_vectors_BD is not None and len(query_vectors_BD) == 0:
            raise InputError("query_vectors_BD has no rows, expected user vectors; leave it out to measure on items")
        use_gpu(device)  # an impossible device should not cost a long build first
        if kind == "auto":
            kind = "exact" if len(vectors_ND) - 1 <= EXACT_LIMIT else "ivf"
        if kind == "exact":
            spec = IndexSpec("exact", recall=1.0, target_recall=target_recall)
            return ItemIndex(flat(vectors_ND), vectors_ND, spec, device=device)
        queries_BD = vectors_ND[1:] if query_vectors_BD is None else query_vectors_BD
        queries_BD = queries_BD[np.unique(np.linspace(0, len(queries_BD) - 1, MAX_SAMPLE).astype(np.int64))]
        oracle_BK, _ = ItemIndex.build(vectors_ND, kind="exact").search(queries_BD, RECALL_K)
        faiss_index, candidates = (hnsw if kind == "hnsw" else ivf)(vectors_ND)
        for spec in candidates:
            index = ItemIndex(faiss_index, vectors_ND, spec)
            recall = recall_at(index.search(queries_BD, RECALL_K)[0], oracle_BK)
            if recall >= target_recall:
                break
        spec = replace(spec, recall=recall, target_recall=target_recall)
        return ItemIndex(faiss_index, vectors_ND, spec, device=device)

    def save(self, path: Path) -> None:
        """Write the FAISS file. The spec and the vectors are the caller's to keep."""
        faiss.write_index(self._faiss, str(path))

    @staticmethod
    def load(path: Path, vectors_ND: Float32, spec: IndexSpec, *, device: str = "cpu") -> "ItemIndex":
        """Read what ``save`` wrote. Raises InputError where the file is no index of these vectors and this spec.

        FAISS files carry no checksum, and most damage passes unnoticed: check a digest before calling this.
        """
        _check_vectors(vectors_ND)
        try:
            faiss_index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise InputError(f"{path} is not a readable faiss index; rebuild the bundle it belongs to") from error
        names = {"exact": "IndexFlatIP", "hnsw": "IndexHNSWFlat", "ivf": "IndexIVFFlat"}
        expected = names[spec.kind], len(vectors_ND) - 1, vectors_ND.shape[1]
        found = type(faiss_index).__name__, faiss_index.ntotal, faiss_index.d
        if found != expected:
            raise InputError(f"{path} holds {found}, expected {expected} (type, items, dimensions); rebuild the bundle")
        return ItemIndex(faiss_index, vectors_ND, spec, device=device)

    def search(
        self, users_BD: Float32, k: int, *, excluded: Jagged | None = None, allowed: Bool | None = None
    ) -> tuple[Int32, Float32]:
        """The ``k`` best eligible items of every user, or all of them where fewer are eligible.

        users_BD: [B, D] float32, finite. excluded: B rows of positions, what that user must not get (zeros, duplicates
        and any order are fine). allowed: [N + 1] bool, what anyone may get. Returns positions [B, k] int32 and scores
        [B, k] float32, by score descending, then position ascending, padded with 0 and -inf. Scores are float64 inner
        products rounded once, so an answer never depends on who else is in the batch. An exact index answers exactly;
        an approximate one may miss items (see ``IndexSpec.recall``) but never returns fewer or ineligible ones.

        Raises InputError for wrong shapes, values that are not finite, k < 1 or positions outside the catalogue.
        """
        users_BD = np.ascontiguousarray(users_BD, np.float32)
        self._check_request(users_BD, k, excluded, allowed)
        search = partial(self._search, users_BD, k, excluded, allowed)
        return for_users(len(users_BD), search) if self._scans else search()  # faiss counts its own threads

    def _search(
        self, users_BD: Float32, k: int, excluded: Jagged | None, allowed: Bool | None
    ) -> tuple[Int32, Float32]:
        num_allowed = self.num_items
        if allowed is not None:
            num_allowed = int(np.count_nonzero(allowed[1:]))
            share = SCANNED_SHARE if self._scans and len(users_BD) < SMALL_BATCH else SUBSET_SHARE
            if num_allowed * share <= self.num_items:
                return self._search_subset(users_BD, k, excluded, allowed)
        catalogue = self._catalogue(users_BD)
        eligible = Eligibility(self.num_items, len(users_BD), excluded, allowed)
        need_B = np.full(len(users_BD), min(k, self.num_items) + MARGIN)
        if catalogue is None:  # faiss has those in its list who must not be found
            need_B = (need_B + eligible.num_excluded) * (self.num_items / num_allowed)
        fetch_B = 2 ** np.ceil(np.log2(need_B)).astype(np.int64)
        positions_BK, scores_BK = padding(len(users_BD), k)
        users = np.arange(len(users_BD))
        while len(users):
            fetch_B[fetch_B > self._max_fetch] = self.num_items
            unsettled = []
            blocks = self._blocks(users, fetch_B[users], TILE_USERS if catalogue else len(users))
            tops = [partial(self._top, users_BD, *block, k, eligible, catalogue) for block in blocks]
            # a FAISS index brings threads of its own, and few users are one block
            done = spread(tops) if isinstance(catalogue, Tiles) else map(call, tops)
            for block, top_BK, top_scores_BK, settled_B in done:
                positions_BK[block, : top_BK.shape[1]] = top_BK
                scores_BK[block, : top_BK.shape[1]] = top_scores_BK
                unsettled.append(block[~settled_B])
            users = np.concatenate(unsettled)
            fetch_B[users] *= 2
            if self.spec.kind != "exact":  # a graph or a few lists that came up short would do so again
                fetch_B[users[positions_BK[users, min(k, self.num_items) - 1] == 0]] = self.num_items
        return positions_BK, scores_BK

    def _blocks(self, users: Int64, fetch_B: Int64, most: int) -> Iterator[tuple[Int64, int]]:
        """Users who fetch equally many, in blocks of bounded size."""
        for fetch in np.unique(fetch_B).tolist():
            same = users[fetch_B == fetch]
            step = min(most, max(1, BLOCK_PAIRS // fetch))
            for start in range(0, len(same), step):
                yield same[start : start + step], fetch

    def _top(
        self, users_BD: Float32, user_B: Int64, fetch: int, k: int, eligible: Eligibility, catalogue: Catalogue | None
    ) -> tuple[Int64, Int32, Float32, Bool]:
        """Of the users in rows ``user_B``: these rows, the best of ``fetch`` candidates [B, min(k, F)], and whether
        nothing left unfetched belongs among them.
        """
        users_BD = users_BD[user_B]
        candidates_BF, near_BF, floor_B, error_B = self._candidates(users_BD, user_B, fetch, eligible, catalogue)
        if candidates_BF.shape[1] < min(k, fetch):
            return user_B, *padding(len(user_B), 0), np.zeros(len(user_B), bool)
        if near_BF is not None and len(user_B) >= SMALL_BATCH:
            candidates_BF = _possible(candidates_BF, near_BF, k, error_B)
        scores_BF = rescore(self._vectors_ND, users_BD, candidates_BF)
        keys_BF = sort_keys(np.where(candidates_BF > 0, scores_BF, np.float32(-np.inf)), candidates_BF)
        k = min(k, keys_BF.shape[1])
        if k < keys_BF.shape[1]:
            keys_BF.partition(k - 1, axis=1)
        positions_BK, scores_BK = from_sort_keys(np.sort(keys_BF[:, :k], axis=1))
        settled_B = (scores_BK[:, -1] > floor_B + error_B) | (fetch == self.num_items)
        return user_B, positions_BK, scores_BK, settled_B

    def _candidates(
        self, users_BD: Float32, user_B: Int64, fetch: int, eligible: Eligibility, catalogue: Catalogue | None
    ) -> tuple[Int64, Float32 | None, Float32, Float64]:
        """Eligible positions [B, F] in no promised order (0 is none), their scores as fast arithmetic has them [B, F],
        where they are not all there is, such a score [B] that nothing left out exceeds, and what it is off by [B].
        """
        if fetch == self.num_items:
            everything_BF = np.broadcast_to(np.arange(1, fetch + 1), (len(users_BD), fetch))
            positions_BF = np.where(eligible.mask(user_B, everything_BF), everything_BF, 0)
            return positions_BF, None, np.full(len(users_BD), -np.inf, np.float32), np.zeros(len(users_BD))
        if catalogue:
            return catalogue.exceeding(users_BD, fetch, excluded=eligible.excluded(user_B), barred=eligible.barred)
        on_gpu = self._gpu is not None and fetch <= MAX_GPU_SELECTION
        step = QUANTIZER_BATCH if self.spec.kind == "ivf" and not on_gpu else len(users_BD)
        scores_BF, ids_BF = np.empty((len(users_BD), fetch), np.float32), np.empty((len(users_BD), fetch), np.int64)
        with faiss_threads(1 if len(users_BD) < SMALL_BATCH else faiss.omp_get_max_threads()):
            for start in range(0, len(users_BD), step):
                part = slice(start, start + step)
                (self._gpu if on_gpu else self._faiss).search(users_BD[part], fetch, D=scores_BF[part], I=ids_BF[part])
        error_B = FLOAT32_ERROR * self._max_norm * norms(users_BD) + FLOAT32_TINY
        keep_BF = eligible.mask(user_B, ids_BF + 1)  # faiss counts from 0 and says -1 for "none"
        return np.where(keep_BF, ids_BF + 1, 0), np.where(keep_BF, scores_BF, -np.inf), scores_BF[:, -1], error_B

    def _catalogue(self, users_BD: Float32) -> Catalogue | None:
        """What finds exact candidates on this CPU, rather than FAISS. Made when it is first asked for."""
        if not self._tiled or norms(users_BD).max(initial=0) >= LONGEST:
            return None
        if len(users_BD) >= SMALL_BATCH:
            return self._tiles
        return self._scan if self._scans else None

    @cached_property
    def _tiles(self) -> Tiles:
        return Tiles(self._vectors_ND, self._max_norm)

    @cached_property
    def _scan(self) -> Scan:
        return Scan(self._vectors_ND)

    def _search_subset(
        self, users_BD: Float32, k: int, excluded: Jagged | None, allowed: Bool
    ) -> tuple[Int32, Float32]:
        """Exact answers among few allowed items: a small catalogue of their own, in the same order."""
        rows = np.concatenate(([0], 1 + np.flatnonzero(allowed[1:]))).astype(np.int32)
        if len(rows) == 1:
            return padding(len(users_BD), k)
        if excluded is not None:
            inside = np.zeros(self.num_items + 1, np.int32)
            inside[rows] = np.arange(len(rows))
            excluded = Jagged(inside[excluded.values.astype(np.int64)], excluded.offsets)
        vectors_ND = self._vectors_ND[rows]
        subset = ItemIndex(flat(vectors_ND), vectors_ND, IndexSpec("exact"), scan=False)
        positions_BK, scores_BK = subset.search(users_BD, k, excluded=excluded)
        return rows[positions_BK], scores_BK

    def _check_request(self, users_BD: Float32, k: int, excluded: Jagged | None, allowed: Bool | None) -> None:
        dim = self._vectors_ND.shape[1]
        if users_BD.ndim != 2 or users_BD.shape[1] != dim:
            raise InputError(f"user vectors have shape {users_BD.shape}, expected [B, {dim}]; one user is a batch")
        if not np.isfinite(users_BD).all():
            raise InputError("user vectors hold nan or inf; look for a diverged model or a bad feature")
        if k < 1:
            raise InputError(f"k is {k}, expected at least 1")
        if excluded is not None and len(excluded) != len(users_BD):
            raise InputError(f"excluded has {len(excluded)} rows, expected one for each of {len(users_BD)} users")
        if excluded is not None and len(excluded.values):
            low, high = excluded.values.min(), excluded.values.max()
            if low < 0 or high > self.num_items:
                raise InputError(f"excluded positions span {low} to {high}, expected 0 to {self.num_items}; encode ids")
        if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (self.num_items + 1,)):
            raise InputError(f"allowed is {allowed.dtype} {allowed.shape}, expected bool ({self.num_items + 1},)")


def recall_at(approx_BK: Int32, exact_BK: Int32) -> float:
    """Mean share of each row's exact positions (0 is padding and not counted) that the approximate row holds."""
    stride = max(approx_BK.max(initial=0), exact_BK.max(initial=0)) + np.int64(1)
    row_B1 = np.arange(len(exact_BK))[:, None] * stride
    hit_BK = np.isin(row_B1 + exact_BK, row_B1 + approx_BK) & (exact_BK > 0)
    return float(np.mean(hit_BK.sum(1) / np.maximum((exact_BK > 0).sum(1), 1)))


def _possible(candidates_BF: Int64, near_BF: Float32, k: int, error_B: Float64) -> Int64:
    """[B, C] positions (0 pads): the candidates that may be of the k best, with scores off by the error at most."""
    best_B = -np.partition(-near_BF, k - 1, axis=1)[:, k - 1]
    keep_BF = (near_BF >= (best_B - 2 * error_B)[:, None]) & (candidates_BF > 0)
    return Jagged.from_lengths(candidates_BF[keep_BF], keep_BF.sum(axis=1)).padded(least=k)


def _check_vectors(vectors_ND: Float32) -> None:
    if vectors_ND.ndim != 2 or vectors_ND.dtype != np.float32 or not vectors_ND.flags.c_contiguous:
        raise InputError(
            f"item vectors are {vectors_ND.dtype} {vectors_ND.shape}, expected C-contiguous float32 [items + 1, dim]; "
            "pass them through np.ascontiguousarray(vectors, np.float32)"
        )
    if len(vectors_ND) < 2 or vectors_ND.shape[1] < 1:
        raise InputError(f"item vectors have shape {vectors_ND.shape}: no items beyond row 0; is the catalogue empty?")
    if not np.isfinite(vectors_ND).all():
        raise InputError("item vectors hold nan or inf; look for a diverged model or a bad feature")
