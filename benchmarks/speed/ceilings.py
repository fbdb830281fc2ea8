"""Ceilings: what this machine can do at best, in the same run as the races.

The float32 matrix product of a tile of items and a tile of users, best over tile shapes, in GFLOP/s; and a copy of an
array far larger than the cache, in GB/s read and written. A share of 100% cannot be passed by a program that must do
all of the product in float32, or move all of the bytes through memory.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.speed.race import Answer, Contestant, enter

TILE_ITEMS, TILE_USERS = (256, 512, 1024, 2048, 4096), (64, 128, 256, 512, 1024)
SECONDS = 0.1  # for one shape
COPIED = 2**30  # bytes
ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
PRODUCT = tuple(
    Contestant(
        f"{name}, {label}", "product", peer=False, variables=variables, settings={"library": name, "spread": spread}
    )
    for name in ("NumPy", "torch")
    for label, variables, spread in (
        ("one thread", ONE, False), ("all threads", {}, False), ("a tile for each core", ONE, True),
    )
)  # fmt: skip
COPY = (
    Contestant("torch, one thread", "copy", peer=False, variables=ONE),
    Contestant("torch, all threads", "copy", peer=False),
)


def product(library: str, dim: int, spread: bool) -> Iterator[Answer | None]:
    """spread: as many threads as cores, each with a tile of its own."""
    workers = (os.cpu_count() or 1) if spread else 1
    make = {"NumPy": numpy_tile, "torch": torch_tile}[library]
    best = 0.0
    yield None
    with ThreadPoolExecutor(workers) as pool:
        for items in TILE_ITEMS:
            for users in TILE_USERS:
                calls = [make(items, users, dim) for _ in range(workers)]
                rate = 2e-9 * items * users * dim * sum(pool.map(calls_a_second, calls))
                best = max(best, rate)
    yield None
    yield {"figures": {"GFLOP/s": best}}


def copy() -> Iterator[Answer | None]:
    import torch

    source, target = torch.ones(COPIED, dtype=torch.uint8), torch.zeros(COPIED, dtype=torch.uint8)
    yield None
    rate = 2e-9 * COPIED * max(calls_a_second(lambda: target.copy_(source)) for _ in range(5))
    yield None
    yield {"figures": {"GB/s": rate}}


def numpy_tile(items: int, users: int, dim: int) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((items, dim), np.float32), rng.standard_normal((dim, users), np.float32)
    tile = np.empty((items, users), np.float32)
    return lambda: np.matmul(left, right, out=tile)


def torch_tile(items: int, users: int, dim: int) -> Callable[[], Any]:
    import torch

    left, right, tile = torch.randn(items, dim), torch.randn(dim, users), torch.empty(items, users)
    return lambda: torch.mm(left, right, out=tile)


def calls_a_second(call: Callable[[], Any]) -> float:
    call()
    count, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < SECONDS:
        call()
        count += 1
    return count / seconds


if __name__ == "__main__":
    enter({"product": product, "copy": copy})
