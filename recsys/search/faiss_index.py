"""Kinds of FAISS index, candidates from one, and where an index can run.

Legend: B users, N items, D dimensions, C candidates. A catalogue matrix is [N + 1, D] float32; row 0 is "unknown" and
not indexed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import faiss
import numpy as np
import torch

from ..data import Int64
from ..errors import InputError
from .candidates import BlockEligibility, Candidates
from .faiss_file import Bytes, FaissFile
from .index_spec import IndexSpec
from .rescoring import FLOAT32_ERROR, FLOAT32_TINY
from .threads import SMALL_BATCH
from .vectors import Float32, norms

DEVICES = ("cpu", "cuda", "auto")
MAX_GPU_SELECTION = 2048  # items to fetch or lists to probe: FAISS's getMaxKSelection, which is 16,384 with cuVS
GPU_WORKSPACE = 2**29  # bytes that FAISS reserves on the GPU for its intermediate results
LARGEST_SCORE = 1e38  # no item has a score beyond it: cuVS's padding does


@dataclass(frozen=True)
class FaissKind:
    """A kind of FAISS index; an ``IndexKind``.

    build: see ``IndexKind``. check: raises InputError unless a file's content is an index of a catalogue matrix, as a
    spec describes it. configure: sets an index to a spec. fits_gpu: whether FAISS can search a spec on a GPU.
    users_at_once: the most users in one call of a CPU index; None: any number.
    """

    build: Callable[[Float32], tuple[Any, list[IndexSpec]]]
    check: Callable[[Bytes, Float32, IndexSpec], None]
    configure: Callable[[Any, IndexSpec], None]
    fits_gpu: Callable[[IndexSpec], bool]
    users_at_once: int | None = None

    def source(self, index: Any, spec: IndexSpec, *, max_norm: float, device: str) -> "FaissCandidates":
        """Set the index to a spec and, where it can, copy it to a GPU."""
        self.configure(index, spec)
        on_gpu = choose_device(device).type != "cpu" and num_gpus() > 0
        gpu_index = GpuIndex(index) if on_gpu and self.fits_gpu(spec) else None
        return FaissCandidates(index, max_norm, self.users_at_once, gpu_index, spec.overfetch)

    def write(self, index: Any, path: Path) -> None:
        """Write the index in FAISS's own format."""
        faiss.write_index(index, str(path))

    def read(self, content: Bytes, vectors_ND: Float32, spec: IndexSpec) -> Any:
        """Read an index, after its bytes were checked: FAISS crashes on damaged ones."""
        self.check(content, vectors_ND, spec)
        file = FaissFile(content)
        reader = faiss.PyCallbackIOReader(lambda count: file.take(count).tobytes())  # type: ignore[attr-defined]
        try:
            return faiss.read_index(reader)
        except RuntimeError as error:
            raise InputError("it is not a readable faiss index; rebuild the bundle it belongs to") from error


class GpuIndex:
    """A copy of a FAISS index on a GPU, which threads can share.

    FAISS's own must not be entered by two threads, which would use the same temporary memory (FAISS wiki, "Threads and
    asynchronous calls"). So one waits for the other; on the device their searches would not run at once anyway.
    """

    def __init__(self, index: Any) -> None:
        self._num_items = index.ntotal
        self._resources = faiss.StandardGpuResources()  # kept as long as the index, which works in its memory
        self._resources.setTempMemory(GPU_WORKSPACE)
        self._index = faiss.index_cpu_to_gpu(self._resources, 0, index)
        self._lock = Lock()

    def search(self, users_BD: Float32, fetch: int, scores_BC: Float32, ids_BC: Int64) -> None:
        """Write FAISS's best ``fetch`` items, at most MAX_GPU_SELECTION; -1 with score -inf pads, as on a CPU.

        FAISS itself pads with -1, cuVS with the largest int64 (to which nothing can be added) or with an item of a
        probed list and a score beyond all others.
        """
        with self._lock:
            self._index.search(users_BD, fetch, D=scores_BC, I=ids_BC)
        is_item_BC = (ids_BC >= 0) & (ids_BC < self._num_items) & (np.abs(scores_BC) < LARGEST_SCORE)
        ids_BC[~is_item_BC], scores_BC[~is_item_BC] = -1, -np.inf


class FaissCandidates:
    """Candidates from a FAISS index on the CPU, and its copy on a GPU, if there is one.

    FAISS knows nothing of eligibility: ineligible items take places among the candidates.

    Args:
        index: the FAISS index of the catalogue.
        max_norm: the length of the longest item vector.
        users_at_once: the most users in one call of the index; None: any number.
        gpu_index: its copy on a GPU, which exact_device.py asks; or None.
        overfetch: None if the index computes with whole vectors. If it computes with codes, how many items to take for
            each one that is wanted, all of which are then scored.
    """

    leaves_out, parallel, max_users = False, False, None  # FAISS has threads of its own

    def __init__(
        self,
        index: Any,
        max_norm: float,
        users_at_once: int | None,
        gpu_index: GpuIndex | None,
        overfetch: int | None = None,
    ) -> None:
        self.index = index
        self.gpu_index = gpu_index
        self._max_norm = max_norm
        self._users_at_once = users_at_once
        self._overfetch = overfetch

    def candidates(self, users_BD: Float32, fetch: int, eligible: BlockEligibility) -> Candidates:
        """Those of FAISS's best ``fetch`` items that are eligible; padding in place of the others."""
        index, step = self.index, self._users_at_once or len(users_BD)
        if self._overfetch is not None:
            fetch = min(fetch * self._overfetch, index.ntotal)
        scores_BC, ids_BC = np.empty((len(users_BD), fetch), np.float32), np.empty((len(users_BD), fetch), np.int64)
        with faiss_threads(1 if len(users_BD) < SMALL_BATCH else usable_threads()):
            for start in range(0, len(users_BD), step):
                part = slice(start, start + step)
                index.search(users_BD[part], fetch, D=scores_BC[part], I=ids_BC[part])
        positions_BC = ids_BC + 1  # FAISS counts from 0, and pads with -1
        eligible_BC = eligible.mask(positions_BC)
        if self._overfetch is not None:  # how far scores of codes are off is not known, only how often it matters
            floor_B = np.full(len(users_BD), -np.inf, np.float32)
            return Candidates(np.where(eligible_BC, positions_BC, 0), None, floor_B, np.zeros(len(users_BD)))
        error_B = FLOAT32_ERROR * self._max_norm * norms(users_BD) + FLOAT32_TINY
        return Candidates(
            np.where(eligible_BC, positions_BC, 0), np.where(eligible_BC, scores_BC, -np.inf), scores_BC[:, -1], error_B
        )


def choose_device(name: str) -> torch.device:
    """The device called "cpu", "cuda" (the current GPU) or "auto", which is a GPU if there is one, else the CPU.

    Raises InputError for another name, or where there is no GPU.
    """
    if name not in DEVICES:
        raise InputError(f"the device is {name!r}, expected {', '.join(DEVICES[:-1])} or {DEVICES[-1]}")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "the device is 'cuda', but torch finds no NVIDIA GPU here; install the extra cuda on a machine that has "
            "one, or use the device 'auto' or 'cpu'"
        )
    return torch.device(name)


def require_device(name: str, kind: str) -> None:
    """Raise InputError unless there is this device and an index of this kind can be searched on it."""
    choose_device(name)
    if name == "cuda" and kind == "ivf" and not num_gpus():
        raise InputError(
            "the device is 'cuda', but this faiss has no GPU for an IVF index; install the extra "
            "cuda-search, use an exact index (index.kind = \"exact\"), or the device 'auto' or 'cpu'"
        )


def num_gpus() -> int:
    """How many GPUs this FAISS can search on; 0 for its CPU build."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def usable_threads() -> int:
    """How many threads FAISS may use: as many as torch, which has only one in a fork."""
    return min(int(faiss.omp_get_max_threads()), torch.get_num_threads())


@contextmanager
def faiss_threads(count: int) -> Iterator[None]:
    """Run FAISS with ``count`` threads. The setting belongs to the calling thread and is restored."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
