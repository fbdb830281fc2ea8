"""Recall of an approximate search against an exact one."""

import numpy as np

from ..data import Int32

RECALL_K = 100  # answers per user on which an index's recall is measured


def recall_at(approx_BK: Int32, exact_BK: Int32) -> float:
    """The share of each row's exact positions that the approximate row holds: the mean over rows.

    approx_BK, exact_BK: positions, 0 for padding, which does not count.
    """
    stride = max(approx_BK.max(initial=0), exact_BK.max(initial=0)) + np.int64(1)
    row_B1 = np.arange(len(exact_BK))[:, None] * stride
    hit_BK = np.isin(row_B1 + exact_BK, row_B1 + approx_BK) & (exact_BK > 0)
    return float(np.mean(hit_BK.sum(1) / np.maximum((exact_BK > 0).sum(1), 1)))
