"""The content of a FAISS file, checked before FAISS parses it.

FAISS's files have no checksum. Its reader allocates what a header asks for and trusts what a file says about itself, so
that a damaged one crashes the process, at the latest when it is searched. Each kind checks here that every number of
its file is one that it could have written for these item vectors. Layouts: faiss/impl/index_write.cpp.

Legend: N items, D dimensions.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .vectors import Float32

Bytes = npt.NDArray[np.uint8]
UNUSED = 1 << 20  # two fields that FAISS no longer uses
INNER_PRODUCT = 0


class FaissFile:
    """Reads a file from its start to its end, never beyond."""

    def __init__(self, content: Bytes) -> None:
        self._rest = content

    def take(self, num_bytes: int) -> Bytes:
        """The next bytes. Raises InputError if there are not as many."""
        require(0 <= num_bytes <= len(self._rest), "it ends too early")
        taken, self._rest = self._rest[:num_bytes], self._rest[num_bytes:]
        return taken

    def numbers(self, dtype: str, count: int) -> npt.NDArray[Any]:
        """The next ``count`` numbers, as a view if they are aligned."""
        return self.take(count * np.dtype(dtype).itemsize).view(dtype)

    def number(self, dtype: str) -> int:
        """The next number."""
        return int(self.numbers(dtype, 1)[0])

    def vector(self, dtype: str) -> npt.NDArray[Any]:
        """The next C++ vector: its length, then its numbers."""
        return self.numbers(dtype, self.number("<u8"))

    def expect(self, layout: str, *values: object) -> None:
        """Read bytes that can only be these. layout: as for ``struct.pack``, little-endian and without gaps."""
        expected = struct.pack(f"<{layout}", *values)
        require(self.take(len(expected)).tobytes() == expected, "its header does not fit the item vectors")

    def header(self, kind: bytes, num_vectors: int, dim: int) -> None:
        """Read the header of an index of ``num_vectors`` vectors. kind: FAISS's four letters for its class."""
        self.expect("4siqqq?i", kind, dim, num_vectors, UNUSED, UNUSED, True, INNER_PRODUCT)

    def flat(self, num_vectors: int, dim: int) -> Bytes:
        """Read a whole flat index; returns the bytes of its vectors."""
        self.header(b"IxFI", num_vectors, dim)
        self.expect("Q", num_vectors * dim)
        return self.take(4 * num_vectors * dim)

    def end(self) -> None:
        """Raise InputError unless everything was read."""
        require(not len(self._rest), "it goes on after its end")


def same_bytes(stored: Bytes, vectors_ND: Float32) -> bool:
    """Whether these are the bytes of these vectors."""
    return np.array_equal(stored, vectors_ND.reshape(-1).view(np.uint8))


def require(sound: bool | np.bool_, fault: str) -> None:
    """Raise InputError if a FAISS file has a fault."""
    if not sound:
        raise InputError(f"it is no index of these item vectors: {fault}")
