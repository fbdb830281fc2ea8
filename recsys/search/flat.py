"""The exact index kind: all vectors, each compared with each user."""

from typing import Any

import faiss

from .faiss_file import Bytes, FaissFile, require, same_bytes
from .faiss_index import FaissKind
from .index_spec import IndexSpec
from .vectors import Float32


def build(vectors_ND: Float32) -> tuple[Any, list[IndexSpec]]:
    """A FAISS index of all vectors [N + 1, D]; it has only one setting."""
    index = faiss.IndexFlatIP(vectors_ND.shape[1])
    index.add(vectors_ND[1:])
    return index, [IndexSpec("exact")]


def check(content: Bytes, vectors_ND: Float32, spec: IndexSpec) -> None:
    """Raise InputError unless a file holds exactly the vectors [N + 1, D], without the first."""
    file = FaissFile(content)
    require(same_bytes(file.flat(len(vectors_ND) - 1, vectors_ND.shape[1]), vectors_ND[1:]), "its vectors are others")
    file.end()


# a GPU searches exactly without FAISS: see exact_device.py
FLAT = FaissKind(build, check, configure=lambda index, spec: None, fits_gpu=lambda spec: False)
