"""Kinds of FAISS index, candidates from one, and where an index can run.

Legend: B users, N items, D dimensions, C candidates. A catalogue matrix is [N + 1, D] float32; row 0 is "unknown" and
not indexed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from ..errors import InputError
from .candidates import BlockEligibility, Candidates
from .faiss_file import Bytes, FaissFile
from .index_spec import IndexSpec
from .rescoring import FLOAT32_ERROR, FLOAT32_TINY
from .threads import SMALL_BATCH
from .vectors import Float32, norms

MAX_GPU_SELECTION = 2048  # the most items to fetch, or lists to probe, that FAISS can select on a GPU


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
        """Set the index to a spec and, where it can, move it to a GPU."""
        self.configure(index, spec)
        on_gpu = use_gpu(device) and self.fits_gpu(spec)
        gpu_index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index) if on_gpu else None
        return FaissCandidates(index, gpu_index, max_norm, self.users_at_once)

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


class FaissCandidates:
    """Candidates from a FAISS index, on a GPU where it can.

    FAISS knows nothing of eligibility: ineligible items take places among the candidates.

    Args:
        index: the FAISS index of the catalogue.
        gpu_index: its copy on a GPU, or None.
        max_norm: the length of the longest item vector.
        users_at_once: the most users in one call of the CPU index; None: any number.
    """

    leaves_out, parallel, max_users = False, False, None  # FAISS has threads of its own

    def __init__(self, index: Any, gpu_index: Any, max_norm: float, users_at_once: int | None) -> None:
        self.index = index
        self._gpu = gpu_index
        self._max_norm = max_norm
        self._users_at_once = users_at_once

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU searches."""
        return self._gpu is not None

    def candidates(self, users_BD: Float32, fetch: int, eligible: BlockEligibility) -> Candidates:
        """Those of FAISS's best ``fetch`` items that are eligible; padding in place of the others."""
        index, step = self.index, self._users_at_once or len(users_BD)
        if self.on_gpu and fetch <= MAX_GPU_SELECTION:
            index, step = self._gpu, len(users_BD)
        scores_BC, ids_BC = np.empty((len(users_BD), fetch), np.float32), np.empty((len(users_BD), fetch), np.int64)
        with faiss_threads(1 if len(users_BD) < SMALL_BATCH else usable_threads()):
            for start in range(0, len(users_BD), step):
                part = slice(start, start + step)
                index.search(users_BD[part], fetch, D=scores_BC[part], I=ids_BC[part])
        error_B = FLOAT32_ERROR * self._max_norm * norms(users_BD) + FLOAT32_TINY
        positions_BC = ids_BC + 1  # FAISS counts from 0, and pads with -1
        eligible_BC = eligible.mask(positions_BC)
        return Candidates(
            np.where(eligible_BC, positions_BC, 0), np.where(eligible_BC, scores_BC, -np.inf), scores_BC[:, -1], error_B
        )


def use_gpu(device: str) -> bool:
    """Whether to search on the GPU. Raises InputError for an unknown device, or "cuda" where FAISS has no GPU."""
    if device not in ("cpu", "cuda", "auto"):
        raise InputError(f"index device is {device!r}, expected cpu, cuda or auto")
    if device == "cuda" and not num_gpus():
        raise InputError(
            "index device is 'cuda', but this faiss sees no GPU; install the extra cuda-search on a machine "
            "with an NVIDIA GPU, or use device 'auto' or 'cpu'"
        )
    return device != "cpu" and num_gpus() > 0


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
