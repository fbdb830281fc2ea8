import numpy as np
import pytest

from recsys.data.jagged import Jagged
from recsys.errors import InputError
from recsys.search.index import ItemIndex
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


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"users_BD": np.zeros(16, np.float32)}, "shape"),
        ({"users_BD": np.full((1, 16), np.nan, np.float32)}, "nan"),
        ({"k": 0}, "at least 1"),
        ({"excluded": Jagged.from_rows([[1], [2]])}, "2 rows"),
        ({"excluded": Jagged.from_rows([[6_001]])}, "0 to 6000"),
        ({"excluded": Jagged.from_rows([[-1]])}, "-1"),
        ({"allowed": np.ones(6_000, bool)}, "allowed"),
    ],
)
def test_bad_requests_are_refused(world, indexes, request_, message):
    arguments = {"users_BD": world[1][:1], "k": 5} | request_
    with pytest.raises(InputError, match=message):
        indexes["exact"].search(arguments.pop("users_BD"), arguments.pop("k"), **arguments)


@pytest.mark.parametrize(
    ("vectors_ND", "options", "message"),
    [
        (np.ones((3, 2)), {}, "float64"),
        (np.ones((2, 3), np.float32).T, {}, "C-contiguous"),
        (np.ones((1, 2), np.float32), {}, "no items"),
        (np.full((3, 2), np.inf, np.float32), {}, "inf"),
        (np.ones((3, 2), np.float32), {"kind": "annoy"}, "annoy"),
        (np.ones((3, 2), np.float32), {"target_recall": 95}, "target_recall"),
        (np.ones((3, 2), np.float32), {"device": "gpu"}, "cpu, cuda or auto"),
        (np.ones((3, 2), np.float32), {"query_vectors_BD": np.ones((0, 2), np.float32)}, "no rows"),
    ],
)
def test_bad_builds_are_refused(vectors_ND, options, message):
    with pytest.raises(InputError, match=message):
        ItemIndex.build(vectors_ND, **options)
