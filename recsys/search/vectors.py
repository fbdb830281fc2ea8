"""Vectors: their types and lengths, and checks of what a caller gives to an index.

Legend: B users, N items, D dimensions.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Jagged
from ..errors import InputError

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


def check_vectors(vectors_ND: Float32) -> None:
    """Raise InputError if this is not a catalogue matrix."""
    if vectors_ND.ndim != 2 or vectors_ND.dtype != np.float32 or not vectors_ND.flags.c_contiguous:
        raise InputError(
            f"item vectors are {vectors_ND.dtype} {vectors_ND.shape}, expected C-contiguous float32 [items + 1, dim]; "
            "pass them through np.ascontiguousarray(vectors, np.float32)"
        )
    if len(vectors_ND) < 2 or vectors_ND.shape[1] < 1:
        raise InputError(f"item vectors have shape {vectors_ND.shape}: no items beyond row 0; is the catalogue empty?")
    if not np.isfinite([vectors_ND.min(), vectors_ND.max()]).all():  # nan is both; no mask of all numbers is made
        raise InputError("item vectors hold nan or inf; look for a diverged model or a bad feature")


def check_request(
    users_BD: Float32, k: int, excluded: Jagged | None, allowed: Bool | None, *, num_items: int, dim: int
) -> None:
    """Raise InputError if these are not arguments of ``ItemIndex.search`` for a catalogue of this size."""
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
        if low < 0 or high > num_items:
            raise InputError(f"excluded positions span {low} to {high}, expected 0 to {num_items}; encode ids")
    if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (num_items + 1,)):
        raise InputError(f"allowed is {allowed.dtype} {allowed.shape}, expected bool ({num_items + 1},)")
