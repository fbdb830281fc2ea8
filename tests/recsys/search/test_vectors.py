import numpy as np

from recsys.search.vectors import norms, unit_rows


def test_unit_rows_have_length_1_and_zero_rows_stay_zero():
    rows = np.array([[3, 4], [0, 0], [0, -1e-5]], np.float32)
    unit = unit_rows(rows)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0], [0, -1]], rtol=1e-6)
    assert unit_rows(rows.astype(np.float64)).dtype == np.float64


def test_norms_neither_vanish_nor_overflow():
    rows = np.array([[3e-30, 4e-30], [3e30, 4e30], [0, 0]], np.float32)
    np.testing.assert_allclose(norms(rows), [5e-30, 5e30, 0], rtol=1e-6)
