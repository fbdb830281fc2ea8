"""Recall, latency and memory of each kind of index on trained vectors, beside hnswlib and usearch.

Every contestant runs in a process of its own, with one thread. Ours are tuned to a recall@100 of .98 on one half of the
users and judged on the other; of the peers' settings the fastest that reaches .98 on the judged half counts. Bytes are
those that the index holds in memory, as a share of the vectors' own. "cold": the page cache of the vectors' file was
dropped before each query, for the kinds that hold no vectors.

python -m benchmarks.index_kinds RUN --peers VENV   RUN: a folder of `recsys run`. VENV: has hnswlib and usearch.
"""

import argparse
import json
import mmap
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
K, TARGET, COLD = 100, 0.98, 30
OURS, PEERS = ("exact", "bytes", "codes", "ivf", "hnsw"), ("hnswlib", "usearch f32", "usearch bf16", "usearch i8")
LINKS, EFFORT, LADDER = 48, 400, (100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400, 3200, 4800)
Search = Callable[[np.ndarray], np.ndarray]  # users [B, D] to rows of items [B, K]


def prepare(run: Path, folder: Path) -> None:
    """Write the item vectors, the users' vectors and the exact answers of every other user."""
    import polars as pl

    from recsys.bundle import load_bundle
    from recsys.data import Jagged, id_lists
    from recsys.retriever import Retriever
    from recsys.search import ItemIndex

    retriever = Retriever(*load_bundle(run / "bundle"))
    encoder = retriever.bundle.encoder
    flat, lengths = id_lists(pl.read_parquet(run / "queries_test.parquet")["history"], encoder.item_ids.dtype)
    lists = Jagged.from_lengths(encoder.positions(flat), lengths)
    users = retriever.encode(lists, np.zeros(len(lists), np.int64))
    vectors = np.array(retriever.bundle.item_vectors)  # type: ignore[union-attr]
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "users.npy", users)
    np.save(folder / "exact.npy", ItemIndex.build(vectors, kind="exact").search(users[1::2], K)[0] - 1)


def ours(kind: str, folder: Path) -> dict[str, float | str]:
    """A kind of ours, loaded from its file and with the vectors mapped, as a service does."""
    import torch

    from recsys.search import ItemIndex

    torch.set_num_threads(1)
    file = np.lib.format.open_memmap(folder / "vectors.npy", mode="c")
    users, started = np.load(folder / "users.npy"), time.perf_counter()
    index = ItemIndex.build(np.asarray(file), kind=kind, target_recall=TARGET, query_vectors_BD=users[::2])
    built = time.perf_counter() - started
    index.save(folder / kind)
    index = ItemIndex.load(np.memmap(folder / kind, np.uint8, "c"), np.asarray(file), index.spec)

    def search(users_BD: np.ndarray) -> np.ndarray:
        return index.search(users_BD, K)[0] - 1

    num_items = len(file) - 1
    held = {"exact": file.nbytes + file.nbytes // 2 + 8 * num_items, "bytes": file.nbytes // 4 + 4 * num_items}
    judged = judge(search, users[1::2], np.load(folder / "exact.npy"))
    spec = index.spec
    settings = {"lists": spec.num_lists, "probes": spec.num_probes, "surplus": spec.overfetch, "ef": spec.ef_search}
    told = {"setting": ", ".join(f"{name} {value}" for name, value in settings.items() if value), "built s": built}
    size = held.get(kind, (folder / kind).stat().st_size)
    cold = {"cold p50": cold_ms(search, users[1::2], file)} if kind in {"bytes", "codes"} else {}
    return judged | told | cold | {"bytes": size / file.nbytes}


def cold_ms(search: Search, users: np.ndarray, file: np.ndarray) -> float:
    """The median milliseconds of one user where no page of the vectors' file is in memory."""
    seconds = []
    for row in range(COLD):
        file._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
        descriptor = os.open(file.filename, os.O_RDONLY)  # type: ignore[attr-defined]
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        started = time.perf_counter()
        search(users[row : row + 1])
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds) * 1e3)


def hnswlib(folder: Path) -> dict[str, float | str]:
    """hnswlib's graph over inner products."""
    import hnswlib as library

    vectors, users = np.load(folder / "vectors.npy")[1:], np.load(folder / "users.npy")[1::2]
    started = time.perf_counter()
    index = library.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=LINKS, ef_construction=EFFORT)
    index.set_num_threads(1)
    index.add_items(vectors)
    built = time.perf_counter() - started
    index.save_index(str(folder / "hnswlib"))
    return fastest(index.set_ef, lambda users_BD: index.knn_query(users_BD, K)[0], users, folder) | {
        "built s": built, "bytes": (folder / "hnswlib").stat().st_size / vectors.nbytes,
    }  # fmt: skip


def usearch(dtype: str, folder: Path) -> dict[str, float | str]:
    """usearch's graph over inner products, its vectors of a type."""
    from usearch.index import Index

    vectors, users = np.load(folder / "vectors.npy")[1:], np.load(folder / "users.npy")[1::2]
    started = time.perf_counter()
    index = Index(ndim=vectors.shape[1], metric="ip", dtype=dtype, connectivity=LINKS, expansion_add=EFFORT)
    index.add(np.arange(len(vectors)), vectors, threads=1)
    built = time.perf_counter() - started

    def set_ef(ef: int) -> None:
        index.expansion_search = ef

    def search(users_BD: np.ndarray) -> np.ndarray:
        return np.asarray(index.search(users_BD, K, threads=1).keys).reshape(len(users_BD), -1)

    told = fastest(set_ef, search, users, folder)
    return told | {"built s": built, "bytes": index.serialized_length / vectors.nbytes}


def fastest(set_ef: Callable[[int], object], search: Search, users: np.ndarray, folder: Path) -> dict[str, float | str]:
    """What the first setting takes that reaches the target, or the last one."""
    exact = np.load(folder / "exact.npy")
    for ef in LADDER:
        set_ef(ef)
        if recall(search(users), exact) >= TARGET:
            break
    return judge(search, users, exact) | {"setting": f"M {LINKS}, ef {ef}"}


def judge(search: Search, users: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Recall, milliseconds of one user, and of each in a batch."""
    answers, batches, seconds = search(users), [], []
    for _ in range(3):
        started = time.perf_counter()
        search(users)
        batches.append(time.perf_counter() - started)
    for row in range(len(users)):
        started = time.perf_counter()
        search(users[row : row + 1])
        seconds.append(time.perf_counter() - started)
    p50, p99 = (np.percentile(seconds, [50, 99]) * 1e3).tolist()
    batch = float(np.median(batches)) / len(users) * 1e3
    return {"recall": recall(answers, exact), "p50": p50, "p99": p99, "batch": batch}


def recall(answers: np.ndarray, exact: np.ndarray) -> float:
    """The share of exact answers that are among the answers."""
    return float(np.mean([len(np.intersect1d(*rows)) / K for rows in zip(answers, exact, strict=True)]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--kinds", nargs="+", default=[*OURS, *PEERS])
    parser.add_argument("--be", help="internal: the contestant to be, with RUN its prepared folder")
    options = parser.parse_args()
    if options.be is not None:
        name, _, dtype = options.be.partition(" ")
        work = hnswlib if name == "hnswlib" else usearch if name == "usearch" else ours
        told = work(options.run) if name == "hnswlib" else work(dtype or name, options.run)  # type: ignore[operator]
        sys.stdout.write("\n" + json.dumps(told))
        return
    one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    with tempfile.TemporaryDirectory() as folder:
        prepare(options.run, Path(folder))
        sys.stdout.write("index | recall@100 | p50 ms | p99 ms | batch ms | bytes | cold p50 ms | build s | setting\n")
        for kind in options.kinds:
            python = str(options.peers / "bin" / "python") if kind in PEERS else sys.executable
            command = [python, "-m", "benchmarks.index_kinds", folder, "--be", kind]
            done = subprocess.run(
                command, cwd=ROOT, env=os.environ | one, stdout=subprocess.PIPE, text=True, check=True
            )
            told = json.loads(done.stdout.splitlines()[-1])
            cold = f"{told['cold p50']:.1f}" if "cold p50" in told else ""
            figures = f"{told['recall']:.4f} | {told['p50']:.2f} | {told['p99']:.2f} | {told['batch']:.3f}"
            line = f"{kind} | {figures} | {told['bytes']:.3f} | {cold} | {told['built s']:.0f} | {told['setting']}"
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
