"""Metadata-kNN, the baseline for cold items: what has features like the items of the history.

Shapes: Q queries, N catalogue positions with 0 among them (num_items + 1), C candidates, F features.
"""

import numpy as np
import polars as pl
from scipy.sparse import csr_array, hstack, issparse, vstack

from recsys.data import Int32, Jagged, Transform
from recsys.item_item import Bool, Scores, Sparse, history_weights, rank_by


def metadata_knn(features_NF: Sparse, histories: Jagged, k: int, *, candidates: Bool | None = None) -> Int32:
    """Rank items by the cosine of their features with the mean of the history items' unit feature vectors.

    features_NF: sparse or dense [N, F], row 0 zeros. This is the content-based profile of Lops et al. 2011; the
    profile's own length does not change the ranking and is left out. An item without features is not ranked, and
    nothing is ranked for a history without features.
    """
    unit_NF, described_N = _unit_rows(features_NF)
    ranked_C = np.flatnonzero(described_N if candidates is None else described_N & candidates)
    unit_FC = unit_NF[ranked_C].T

    def score(chunk: Jagged) -> Scores:
        weight_QN = history_weights(chunk, len(described_N) - 1, None)
        score_QC = weight_QN @ unit_NF @ unit_FC
        score_QN = np.full(weight_QN.shape, -np.inf, np.float32)
        score_QN[:, ranked_C] = score_QC.toarray() if issparse(score_QC) else score_QC
        score_QN[weight_QN @ described_N == 0] = -np.inf
        return score_QN

    return rank_by(score, len(described_N), histories, k, candidates)


def feature_matrix(transforms: tuple[Transform, ...], encoded: pl.DataFrame) -> Sparse:
    """[N, F] csr: encoded features of items as counts per table row, dense columns unchanged; row 0 is empty."""
    blocks = []
    for transform in transforms:
        column = encoded.get_column(transform.name)
        if transform.is_bag:
            bag = Jagged.from_series(column)
            ones = np.ones(len(bag.values), np.float32)
            blocks.append(csr_array((ones, bag.values, bag.offsets), shape=(len(bag), transform.size)))
        else:
            blocks.append(csr_array(column.to_numpy().reshape(-1, transform.size)))
    described = hstack(blocks, format="csr", dtype=np.float32)
    return vstack([csr_array((1, described.shape[1]), dtype=np.float32), described], format="csr")


def _unit_rows(features_NF: Sparse) -> tuple[Sparse, Bool]:
    """The rows scaled to length 1 in float32, zero rows unchanged, and which rows are not zero, [N] bool."""
    features_NF = csr_array(features_NF, dtype=np.float32) if issparse(features_NF) else np.float32(features_NF)
    square_N = np.asarray((features_NF * features_NF).sum(axis=1))
    scale_N = 1 / np.sqrt(np.where(square_N > 0, square_N, 1))
    unit_NF = features_NF * scale_N[:, None]
    # scipy makes the product coo, of which rows are taken by comparing every entry with every row
    return csr_array(unit_NF) if issparse(unit_NF) else unit_NF, square_N > 0
