from pathlib import Path

import faiss
import numpy as np
import pytest

from recsys.errors import InputError
from recsys.search.faiss_index import num_gpus
from recsys.search.index import ItemIndex
from recsys.search.recall import recall_at
from tests.search_worlds import assert_same

needs_gpu = pytest.mark.skipif(num_gpus() == 0, reason="this faiss sees no GPU")


def test_searching_leaves_the_thread_setting_alone(world, indexes):
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        for batch in (1, 50):
            indexes["hnsw"].search(world[1][:batch], 10)
            assert faiss.omp_get_max_threads() == 2
        ItemIndex.build(world[0][:501], kind="ivf")
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.skipif(num_gpus() > 0, reason="this faiss has a GPU")
def test_cuda_without_a_gpu_is_an_error_and_auto_is_not(world):
    with pytest.raises(InputError, match=r"sees no GPU.*'auto' or 'cpu'"):
        ItemIndex.build(world[0], device="cuda")
    with pytest.raises(InputError, match="sees no GPU"):
        ItemIndex.build(world[0], kind="hnsw", device="cuda")
    assert ItemIndex.build(world[0], device="auto").search(world[1], 5)[0].all()


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("k", [10, 1_000, 3_000])
def test_gpu_exact_equals_cpu_exact(world, indexes, k):
    on_gpu = ItemIndex.build(world[0], device="cuda")
    assert_same(on_gpu.search(world[1], k), indexes["exact"].search(world[1], k))


@pytest.mark.gpu
@needs_gpu
def test_gpu_ivf_keeps_its_recall(world, indexes, tmp_path: Path):
    indexes["ivf"].save(tmp_path / "index.faiss")
    on_gpu = ItemIndex.load(
        np.fromfile(tmp_path / "index.faiss", np.uint8), world[0], indexes["ivf"].spec, device="cuda"
    )
    oracle_BK, _ = indexes["exact"].search(world[1][100:], 100)
    assert recall_at(on_gpu.search(world[1][100:], 100)[0], oracle_BK) >= 0.93
