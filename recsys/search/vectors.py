"""Lengths of vectors, and vectors of length 1."""

from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
SHORTEST = 1e-12  # a shorter row counts as zero, as in torch.nn.functional.normalize


def norms(vectors_ND: Float32) -> Float64:
    """The rows' lengths [N], in float64, where squares of float32 values neither vanish nor overflow."""
    lengths_N: Float64 = np.sqrt(np.einsum("nd,nd->n", vectors_ND, vectors_ND, dtype=np.float64))
    return lengths_N


def unit_rows(vectors_ND: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The rows scaled to length 1, in their own dtype; a zero row stays zero."""
    return np.asarray(vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), SHORTEST))
