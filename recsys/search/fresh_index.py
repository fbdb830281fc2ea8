"""An index with newer rows beside it, so that a change of a few items does not build the index of all again.

The rows that differ from the index are searched exactly, as a small catalogue of their own, and barred in the index:
their old vectors are never candidates. Both answers hold exact scores, so the merged one is what an index of all rows
would give. An approximate index misses what it missed before, and nothing of the newer rows.

Legend: B users, N items, F newer rows, D dimensions, K answers. Row 0 is "unknown", as in index.py.
"""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..data import Int32, Int64, Jagged
from .faiss_index import choose_device
from .index import ItemIndex
from .index_spec import IndexSpec
from .rescoring import from_sort_keys, sort_keys
from .vectors import Bool, Float32, check_request

FOLD_SHARE = 1 / 50  # of the index: more newer rows than this are worth building it again


class FreshIndex:
    """Searches an index and the rows that are newer; to callers, one index of all rows. Searching changes no state.

    Args:
        main: the index, of the first rows of the catalogue as they were when it was built.
        vectors_ND: [N + 1, D] float32, C-contiguous, all rows as they are now; row 0 is "unknown".
        positions_F: ascending, the rows that differ from those of ``main``, or are not in it.
    """

    def __init__(self, main: ItemIndex, vectors_ND: Float32, positions_F: Int64) -> None:
        self.main, self.positions, self.num_items = main, positions_F, len(vectors_ND) - 1
        self._vectors_ND = vectors_ND
        own_FD = np.concatenate((vectors_ND[:1], vectors_ND[positions_F]))
        self._fresh = ItemIndex.build(own_FD, kind="exact", device=main.device) if len(positions_F) else None
        self._is_current = np.ones(main.num_items + 1, bool)
        self._is_current[positions_F[positions_F <= main.num_items]] = False

    @staticmethod
    def after(index: "AnyIndex", vectors_ND: Float32, changed: Int64) -> "FreshIndex":
        """An index whose rows have become ``vectors_ND``. changed: the positions at which they differ, or are new."""
        main, before = (index.main, index.positions) if isinstance(index, FreshIndex) else (index, changed[:0])
        return FreshIndex(main, vectors_ND, np.union1d(before, changed).astype(np.int64))

    @property
    def spec(self) -> IndexSpec:
        """The index's."""
        return self.main.spec

    @property
    def device(self) -> str:
        """The name of the device that searches."""
        return self.main.device

    @property
    def is_large(self) -> bool:
        """Whether there are more newer rows than FOLD_SHARE of the index."""
        return len(self.positions) > FOLD_SHARE * self.main.num_items

    def folded(self) -> ItemIndex:
        """An index of all rows, built as ``main`` was: by the same kind, for the same recall."""
        spec = self.spec
        return ItemIndex.build(
            self._vectors_ND, kind=spec.kind, target_recall=spec.target_recall or 1.0, device=self.device
        )

    def onto(self, main: ItemIndex) -> "FreshIndex":
        """The same rows beside another index, which holds some of them already: an earlier one of the same, folded."""
        known_F = self.positions[self.positions <= main.num_items]
        same_F = (main.rows(known_F) == self._vectors_ND[known_F]).all(axis=1)
        later = np.arange(main.num_items + 1, self.num_items + 1)
        return FreshIndex(main, self._vectors_ND, np.concatenate((known_F[~same_F], later)))

    def search(
        self, users_BD: Float32, k: int, *, excluded: Jagged | None = None, allowed: Bool | None = None
    ) -> tuple[Int32, Float32]:
        """``ItemIndex.search`` among all rows, with the same arguments and results."""
        users_BD = np.ascontiguousarray(users_BD, np.float32)
        check_request(users_BD, k, excluded, allowed, num_items=self.num_items, dim=self._vectors_ND.shape[1])
        if self._fresh is None:
            return self.main.search(users_BD, k, excluded=excluded, allowed=allowed)
        in_main = None if allowed is None else allowed[: self.main.num_items + 1]
        if not self._is_current.all():
            in_main = self._is_current if in_main is None else in_main & self._is_current
        positions_BK, scores_BK = self.main.search(
            users_BD, k, excluded=None if excluded is None else self._of_main(excluded), allowed=in_main
        )
        fresh_BK, fresh_scores_BK = self._fresh.search(
            users_BD,
            k,
            excluded=None if excluded is None else self._of_fresh(excluded),
            allowed=None if allowed is None else np.concatenate(([False], allowed[self.positions])),
        )
        positions_BC = np.concatenate((positions_BK, self._position_of_row[fresh_BK]), axis=1).astype(np.int64)
        keys_BC = sort_keys(np.concatenate((scores_BK, fresh_scores_BK), axis=1), positions_BC)
        return from_sort_keys(np.sort(keys_BC, axis=1)[:, :k])

    def rows(self, positions: Int64) -> Float32:
        """The vectors at some positions."""
        return self._vectors_ND[positions]

    def vectors(self) -> Tensor:
        """The catalogue matrix [N + 1, D] on the device."""
        return torch.from_numpy(self._vectors_ND).to(choose_device(self.device))

    @cached_property
    def _position_of_row(self) -> Int64:
        return np.concatenate((np.zeros(1, np.int64), self.positions))

    def _of_main(self, excluded: Jagged) -> Jagged:
        is_known = excluded.values <= self.main.num_items
        return excluded if is_known.all() else Jagged(np.where(is_known, excluded.values, 0), excluded.offsets)

    def _of_fresh(self, excluded: Jagged) -> Jagged:
        """Exclusions by row of the newer rows, from 1; 0 for the others."""
        row = np.minimum(np.searchsorted(self.positions, excluded.values), len(self.positions) - 1)
        is_fresh = self.positions[row] == excluded.values
        return Jagged(np.where(is_fresh, row + 1, 0).astype(np.int32), excluded.offsets)


AnyIndex = ItemIndex | FreshIndex


def whole(index: AnyIndex) -> ItemIndex:
    """An index of all rows, built if there are newer ones beside it."""
    return index.folded() if isinstance(index, FreshIndex) else index
