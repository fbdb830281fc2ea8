import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock

import faiss
import numpy as np
import pytest
import torch

from recsys.data.jagged import Jagged
from recsys.errors import InputError
from recsys.search import faiss_index, index as index_module, ivf
from recsys.search.exact_device import DeviceCatalogue
from recsys.search.faiss_index import num_gpus
from recsys.search.index import ItemIndex
from recsys.search.recall import recall_at
from tests.search_worlds import assert_same

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
needs_gpu_faiss = pytest.mark.skipif(num_gpus() == 0, reason="this faiss sees no GPU")


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


CPU = torch.device("cpu")
PADDING = {"faiss": (-1, -np.inf), "cuvs": (2**63 - 1, -3.4028235e38), "repeated": (0, 3.4028235e38)}


class StubResources:
    """FAISS's StandardGpuResources: what a test may ask for."""

    def setTempMemory(self, num_bytes):  # noqa: N802
        self.workspace = num_bytes


class StubGpuIndex:
    """A FAISS index on a GPU as FAISS documents it: it must not be entered by two threads, and selects 2,048 at most.

    Its padding is FAISS's (-1), cuVS's (the largest int64) or that of cuVS's IVF kernel, which repeats an item of the
    probed list with a score beyond all others.
    """

    def __init__(self, index, resources, padding):
        self._index, self._resources, self._padding = index, weakref.ref(resources), PADDING[padding]
        self._entered = Lock()
        self.num_searches = 0

    def search(self, users_BD, k, *, D, I):  # noqa: E741
        assert self._entered.acquire(blocking=False), "entered by two threads"
        assert 0 < k <= 2048
        assert self._index.nprobe <= 2048
        assert self._resources().workspace <= 2**30
        time.sleep(0.002)  # during which another thread would come in
        self._index.search(users_BD, k, D=D, I=I)
        D[I < 0], I[I < 0] = self._padding[1], self._padding[0]
        self.num_searches += 1
        self._entered.release()


@pytest.fixture(params=list(PADDING))
def gpus(request, monkeypatch):
    """Pretend that there is a GPU; the copies of indexes on it."""
    copies = []

    def index_cpu_to_gpu(resources, device, index):
        copies.append(StubGpuIndex(index, resources, request.param))
        return copies[-1]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(index_module, "DeviceCatalogue", lambda vectors, norm, _: DeviceCatalogue(vectors, norm, CPU))
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", StubResources, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", index_cpu_to_gpu, raising=False)
    return copies


@pytest.fixture
def load(world, indexes, tmp_path):
    """A function: an index of the world, read from its file."""

    def read(kind, device, **settings):
        indexes[kind].save(tmp_path / "index.faiss")
        spec = replace(indexes[kind].spec, **settings)
        return ItemIndex.load(np.fromfile(tmp_path / "index.faiss", np.uint8), world[0], spec, device=device)

    return read


@pytest.mark.parametrize("share", [None, 0.3, 0.9])
@pytest.mark.parametrize("k", [10, 300, 1_200])
def test_an_index_on_a_gpu_answers_as_on_the_cpu(world, load, gpus, share, k):
    """Few lists are probed, so that most rows are padded, and some users need more candidates than a GPU can select."""
    rng = np.random.default_rng(0)
    allowed = None if share is None else rng.random(6_001) < share
    excluded = Jagged.from_rows([rng.integers(0, 6_001, count) for count in rng.choice([0, 20, 500], 200)])
    expected, found = (
        load("ivf", device, num_probes=2).search(world[1], k, excluded=excluded, allowed=allowed)
        for device in ("cpu", "cuda")
    )
    assert_same(found, expected)
    assert gpus[0].num_searches or k > 10


def test_threads_wait_for_each_other_at_an_index_on_a_gpu(world, load, gpus):
    expected, index = load("ivf", "cpu").search(world[1][:9], 10), load("ivf", "cuda")
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: index.search(world[1][:9], 10), range(32)):
            assert_same(found, expected)
    assert gpus[0].num_searches >= 32


def test_what_a_gpu_cannot_search_stays_on_the_cpu(world, load, gpus, monkeypatch):
    assert load("hnsw", "cuda").search(world[1], 5)[0].all()
    monkeypatch.setattr(faiss_index, "MAX_GPU_SELECTION", 4)
    monkeypatch.setattr(ivf, "MAX_GPU_SELECTION", 4)
    load("ivf", "cuda", num_probes=5)
    load("ivf", "cpu", num_probes=4)
    assert not gpus
    load("ivf", "auto", num_probes=4)
    assert len(gpus) == 1


def test_cuda_where_faiss_has_no_gpu(world, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(faiss_index, "num_gpus", lambda: 0)
    with pytest.raises(
        InputError, match=r"this faiss has no GPU for an IVF index; install the extra cuda-search, .*'auto' or 'cpu'"
    ):
        ItemIndex.build(world[0], kind="ivf", device="cuda")
    assert ItemIndex.build(world[0][:501], kind="ivf", device="auto").search(world[1], 5)[0].all()
    assert faiss_index.choose_device("auto") == faiss_index.choose_device("cuda") == torch.device("cuda")
    assert faiss_index.choose_device("cpu") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_an_error_and_auto_is_not(world):
    with pytest.raises(InputError, match=r"torch finds no NVIDIA GPU here.*'auto' or 'cpu'"):
        ItemIndex.build(world[0], device="cuda")
    with pytest.raises(InputError, match="the device is 'gpu', expected cpu, cuda or auto"):
        ItemIndex.build(world[0], kind="hnsw", device="gpu")
    assert ItemIndex.build(world[0], device="auto").search(world[1], 5)[0].all()


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("k", [10, 1_000, 3_000])
def test_gpu_exact_equals_cpu_exact(world, indexes, k):
    on_gpu = ItemIndex.build(world[0], device="cuda")
    assert_same(on_gpu.search(world[1], k), indexes["exact"].search(world[1], k))


@pytest.mark.gpu
@needs_gpu
@needs_gpu_faiss
def test_gpu_ivf_keeps_its_recall(world, indexes, load):
    oracle_BK, _ = indexes["exact"].search(world[1][100:], 100)
    assert recall_at(load("ivf", "cuda").search(world[1][100:], 100)[0], oracle_BK) >= 0.93
