"""The exact index kinds: each item is compared with each user, by its vector, or first by 8-bit codes.

Legend: N items, D dimensions.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from ..data import Int64
from .exact_request import QuantizedCatalogue
from .faiss_file import INNER_PRODUCT, UNUSED, Bytes, FaissFile, require, same_bytes
from .faiss_index import FaissCandidates
from .index_spec import IndexSpec
from .vectors import Float32

BYTES_KIND, BYTES_LAYOUT = b"recsys bytes v1\n", "<16sqq"


@dataclass(frozen=True)
class FlatVectors:
    """Searches ``vectors`` [N, D] where they are, without a copy, and answers as FAISS's flat index does."""

    vectors: Float32

    def search(self, users_BD: Float32, fetch: int, D: Float32, I: Int64) -> None:  # noqa: E741
        """Write the best ``fetch`` items of each user: scores to ``D``, rows to ``I``, [B, fetch]; -1 pads."""
        D[:], I[:] = faiss.knn(users_BD, self.vectors, fetch, metric=faiss.METRIC_INNER_PRODUCT)


class FlatKind:
    """All vectors in the catalogue's own memory; an ``IndexKind``. A GPU searches them by exact_device.py."""

    def build(self, vectors_ND: Float32) -> tuple[FlatVectors, list[IndexSpec]]:
        """The vectors [N + 1, D] without the first; there is only one setting."""
        return FlatVectors(vectors_ND[1:]), [IndexSpec("exact")]

    def source(self, index: FlatVectors, spec: IndexSpec, *, max_norm: float, device: str) -> FaissCandidates:
        """Candidates on the CPU."""
        return FaissCandidates(index, max_norm, users_at_once=None, gpu_index=None)

    def write(self, index: FlatVectors, path: Path) -> None:
        """Write the file that FAISS would write for a flat index."""
        num_items, dim = index.vectors.shape
        layout = "<4siqqq?iQ"
        with path.open("wb") as file:
            file.write(
                struct.pack(layout, b"IxFI", dim, num_items, UNUSED, UNUSED, True, INNER_PRODUCT, num_items * dim)
            )
            file.write(index.vectors.data)

    def read(self, content: Bytes, vectors_ND: Float32, spec: IndexSpec) -> FlatVectors:
        """The vectors [N + 1, D] without the first. Raises InputError unless the file holds exactly these."""
        file = FaissFile(content)
        stored = file.flat(len(vectors_ND) - 1, vectors_ND.shape[1])
        require(same_bytes(stored, vectors_ND[1:]), "its vectors are others")
        file.end()
        return FlatVectors(vectors_ND[1:])


class ByteKind:
    """8-bit codes of all vectors, which are read only for items that may be among the best; an ``IndexKind``.

    The codes are a member of the bundle, so that processes can share them, as they can the vectors.
    """

    def build(self, vectors_ND: Float32) -> tuple[QuantizedCatalogue, list[IndexSpec]]:
        """The codes of [N + 1, D]; there is only one setting."""
        return QuantizedCatalogue(vectors_ND, compact=True), [IndexSpec("bytes")]

    def write(self, index: QuantizedCatalogue, path: Path) -> None:
        """Write the codes after their kind, number and length. Scales and errors are computed again."""
        with path.open("wb") as file:
            file.write(struct.pack(BYTES_LAYOUT, BYTES_KIND, *index.codes.shape))
            file.write(index.codes.data)

    def read(self, content: Bytes, vectors_ND: Float32, spec: IndexSpec) -> QuantizedCatalogue:
        """The codes as a view of the content. Raises InputError unless they are those of [N + 1, D]."""
        file = FaissFile(content)
        file.expect(BYTES_LAYOUT[1:], BYTES_KIND, *vectors_ND.shape)
        codes = file.take(vectors_ND.size).view(np.int8).reshape(vectors_ND.shape)
        file.end()
        return QuantizedCatalogue(vectors_ND, compact=True, codes=codes)

    def source(self, index: QuantizedCatalogue, spec: IndexSpec, *, max_norm: float, device: str) -> FaissCandidates:
        """Candidates from the whole vectors: for numbers too large for codes, and CPUs that are slow with bytes."""
        return FLAT.source(FlatVectors(index.vectors_ND[1:]), spec, max_norm=max_norm, device=device)


FLAT, BYTES = FlatKind(), ByteKind()
