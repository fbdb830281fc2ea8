"""A linear item-item model: each item of a history adds its row of one matrix to the scores.

Shapes: Q queries, N catalogue positions with 0 among them (num_items + 1), E entries that are not 0.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..data import Int32, Int64, Jagged
from .ranking import CELLS, Scores, Sparse, best, history_weights

DENSE_SHARE = 0.25  # of the cells: a matrix with more entries is kept dense, which is multiplied faster then


@dataclass(frozen=True)
class Entries:
    """The entries of a matrix that are not 0, row by row, as files hold them.

    Attributes:
        offsets: [N + 1] int64. Row ``i`` is ``offsets[i]`` to ``offsets[i + 1]``; row 0 is empty.
        neighbours: [E] int32 positions, from 1, ascending within a row.
        weights: [E] float32, finite and not 0.
    """

    offsets: Int64
    neighbours: Int32
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ItemItemModel:
    """score(item) = sum over the history of weight * matrix[history item, item].

    Attributes:
        name: What records call it, such as ``ease``.
        label: What people read, such as ``EASE``.
        half_life: In events, how fast an event of the history loses weight; None where all weigh 1.
        matrix: [N, N] float32, csr or dense; row and column 0 are empty.
    """

    name: str
    label: str
    half_life: float | None
    matrix: Sparse

    @staticmethod
    def of(name: str, label: str, half_life: float | None, entries: Entries) -> "ItemItemModel":
        """The model whose matrix has these entries."""
        from scipy.sparse import csr_array  # where it is used: a tenth of a second that two towers are spared

        size = len(entries.offsets) - 1
        matrix = csr_array((entries.weights, entries.neighbours, entries.offsets), shape=(size, size))
        is_dense = len(entries.weights) > DENSE_SHARE * size * size
        return ItemItemModel(name, label, half_life, matrix.toarray() if is_dense else matrix)

    @property
    def num_items(self) -> int:
        """The size of the catalogue."""
        return int(self.matrix.shape[0]) - 1

    @property
    def only_popularity(self) -> bool:
        """Whether no history says anything about any item."""
        return not (self.matrix.any() if isinstance(self.matrix, np.ndarray) else self.matrix.nnz)

    def scores(self, histories: Jagged) -> Scores:
        """[Q, N] float32 scores of every item; 0 where nothing in the history speaks for or against it."""
        return _dense(self.sparse_scores(histories))

    def sparse_scores(self, histories: Jagged) -> Sparse:
        """The same scores as csr [Q, N], or dense where the matrix is."""
        return history_weights(histories, self.num_items, self.half_life) @ self.matrix

    def rows(self, positions: Int32) -> Scores:
        """[len(positions), N] float32: what each of these items adds to the scores."""
        return _dense(self.matrix[positions])

    def truncated(self, num_neighbours: int) -> "ItemItemModel":
        """The model with the ``num_neighbours`` largest entries of every row by absolute value; ties by position."""
        from scipy.sparse import csr_array, vstack

        blocks, size = [], self.num_items + 1
        step = max(1, CELLS // size)
        for start in range(0, size, step):
            rows = self.rows(np.arange(start, min(start + step, size), dtype=np.int32))
            magnitudes = np.where(rows == 0, -np.inf, np.abs(rows))
            row, _, column = best(magnitudes, num_neighbours)
            blocks.append(csr_array((rows[row, column], (row, column)), shape=rows.shape))
        sparse = replace(self, matrix=vstack(blocks, format="csr"))
        return ItemItemModel.of(self.name, self.label, self.half_life, sparse.entries())

    def entries(self) -> Entries:
        """The matrix as files hold it."""
        from scipy.sparse import csr_array

        matrix = csr_array(self.matrix, dtype=np.float32, copy=True)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return Entries(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)


def _dense(matrix: Sparse) -> Scores:
    return np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.toarray())
