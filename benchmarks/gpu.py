"""What only a GPU can show, in one table.

    python -m benchmarks.gpu --out DIR [--rows loss search] [--events ml-1m/events.parquet]

loss: sampled softmax forward and backward, four ways. training: ml-1m end to end, by the command line. search: the
exact top 100 of a million items. parity: the index on the GPU gives the CPU's answers. tests: those that are skipped
without a GPU. The table is DIR/GPU.md, rewritten after every row. Each contestant has a process of its own; a row whose
library is missing says which. Exit codes: 1 where a check failed, 2 without a GPU.

Legend: T tokens (B in the table), N negatives or items, D dimensions, B users, K answers.
"""

import argparse
import gc
import importlib.metadata
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from recsys.doctor import NEEDED

ROOT = Path(__file__).parents[1]
ML_1M = ROOT.parent / "shared" / "data" / "ml-1m" / "events.parquet"
DEVICE = "cuda"
WARM, REPETITIONS, SECONDS = 5, 20, 2.0  # timed so many times, unless that takes longer
NOTES = """
Loss: the mean loss of B tokens against N negatives and its gradients to users, positives and negatives, all float32
leaves; the median of {repetitions} runs between CUDA events (of at least 3 within {seconds:.0f} s). Memory is the peak
beyond the inputs. The share is of the bf16 product of two 8192 x 8192 matrices in this same run, and counts three
products, 3 * 2 * B * N * d operations, for everyone: logits, gradient to users, gradient to negatives. What a method
computes again is not counted: the chunked loss executes four products, the fused one five. The gradient's error is the
largest difference from float64 over the largest float64 entry, the worst of the three gradients. float32, TF32, bf16:
what the matrix products are made of; sums are float32.

Search: NumPy in, NumPy out, items already on the GPU, the median of up to 3 passes after one more; recall against
float64. FlashLib knows squared L2 only, so the items have length 1, where that is the same order.
"""


@dataclass(frozen=True)
class Row:
    """One line of the table. result: figures, "does not fit", "not run: needs X" or "failed: why"."""

    check: str
    work: str
    contestant: str
    result: str


# Outcomes.


def outcome(measure: Callable[..., str], *arguments: Any) -> str:
    """Its figures, or why there are none, in words."""
    try:
        return measure(*arguments)
    except ModuleNotFoundError as error:
        return f"not run: needs {error.name}"
    except torch.OutOfMemoryError:
        return "does not fit"
    except Exception as error:  # a compiler or a driver may raise anything, and the other rows are still wanted
        words = " ".join(str(error).split())
        if "C compiler" in words:
            return "not run: needs a C compiler"
        return f"failed: {type(error).__name__}: {words[:200]}"


def apart(measure: Callable[..., str], *jobs: tuple[Any, ...]) -> list[str]:
    """The outcome of every job, from a fresh process: a crash, or a GPU left in disorder, is no one else's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_one_by_one, measure, jobs).result()
        except BrokenProcessPool:
            return ["failed: its process died"] * len(jobs)


def _one_by_one(measure: Callable[..., str], jobs: tuple[tuple[Any, ...], ...]) -> list[str]:
    found = []
    for job in jobs:
        found.append(outcome(measure, *job))
        gc.collect()
        torch.cuda.empty_cache()
    return found


def need(*modules: str) -> None:
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(name=name)


# The loss.

SIZES = [(size, dim) for size in (8_192, 65_536) for dim in (64, 128)]
Loss = Callable[..., Tensor]
LOSSES = [
    (way, products)
    for way in ("eager", "torch.compile of eager", "chunked, training.loss", "fused, Triton")
    for products in ("float32", "tf32", "bf16")
    if (way, products) != ("chunked, training.loss", "bf16")  # it is float32 by contract
]
CHUNK = 1024  # tokens whose float64 logits are held at once
ERROR_LIMITS = {"float32": 1e-4, "tf32": 1e-2, "bf16": 1e-1}


def losses() -> Iterator[Row]:
    yield Row("loss", "8192 x 8192 x 8192", "bf16 product", apart(measure_gemm, ())[0])
    for way, products in LOSSES:
        results = apart(measure_loss, *((way, products, size, dim) for size, dim in SIZES))
        for (size, dim), result in zip(SIZES, results, strict=True):
            yield Row("loss", f"B = N = {size:,}, d = {dim}", f"{way}, {products}", result)


def measure_gemm() -> str:
    return f"{gemm_rate() / 1e12:.0f} TFLOP/s"


def gemm_rate() -> float:
    """Operations a second."""
    left, right = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / (milliseconds(lambda: left @ right) / 1e3)


def measure_loss(way: str, products: str, size: int, dim: int) -> str:
    torch.set_float32_matmul_precision("high" if products == "tf32" else "highest")
    gemm = gemm_rate()
    loss_of, inputs = loss_function(way, products), draw(size, size, dim)
    leaves = inputs[:3]

    def step() -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss_of(*inputs).mean(), leaves)

    error = gradient_error(step(), exact_gradients(*inputs))
    taken = milliseconds(step)
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    peak = (torch.cuda.max_memory_allocated() - held) / 2**20
    share = 3 * 2 * size * size * dim / (taken / 1e3) / gemm
    found = f"{taken:.2f} ms, {peak:,.0f} MiB, {share:.0%} of GEMM, gradient error {error:.0e}"
    return found if error <= ERROR_LIMITS[products] else f"failed: wrong gradients: {found}"


def loss_function(way: str, products: Any) -> Loss:
    """A function of users [T, D], positives [T, D], negatives [N, D], their ids and log_expected [N] to [T]."""
    if way == "fused, Triton":
        from benchmarks.fused_softmax import fused_sampled_softmax

        return partial(fused_sampled_softmax, products=products)
    if way == "chunked, training.loss":
        from training.loss import sampled_softmax

        return sampled_softmax
    eager = partial(eager_sampled_softmax, bf16=products == "bf16")
    return torch.compile(eager, dynamic=False) if way == "torch.compile of eager" else eager


def eager_sampled_softmax(
    users_TD: Tensor,
    positives_TD: Tensor,
    negatives_ND: Tensor,
    positive_ids_T: Tensor,
    negative_ids_N: Tensor,
    log_expected_N: Tensor,
    *,
    bf16: bool = False,
) -> Tensor:
    """As ``training.loss.sampled_softmax``, with all logits in memory."""
    with torch.autocast(users_TD.device.type, torch.bfloat16, enabled=bf16):
        logits_TN = users_TD @ negatives_ND.T
    logits_TN = logits_TN.float() - log_expected_N
    logits_TN = logits_TN.masked_fill(positive_ids_T[:, None] == negative_ids_N, -torch.inf)
    return F.softplus(logits_TN.logsumexp(dim=1) - (users_TD * positives_TD).sum(dim=1))


def draw(num_tokens: int, num_negatives: int, dim: int) -> tuple[Tensor, ...]:
    """Inputs of a loss: logits of standard deviation 3, accidental hits among 20,000 items."""
    torch.manual_seed(0)
    scale = math.sqrt(3) / dim**0.25
    leaves = [
        (scale * torch.randn(rows, dim, device=DEVICE)).requires_grad_()
        for rows in (num_tokens, num_tokens, num_negatives)
    ]
    ids = [torch.randint(1, 20_001, (count,), device=DEVICE) for count in (num_tokens, num_negatives)]
    return *leaves, *ids, torch.randn(num_negatives, device=DEVICE)


@torch.no_grad()
def exact_gradients(
    users_TD: Tensor,
    positives_TD: Tensor,
    negatives_ND: Tensor,
    positive_ids_T: Tensor,
    negative_ids_N: Tensor,
    log_expected_N: Tensor,
) -> tuple[Tensor, ...]:
    """Of the mean loss, by formula, in float64: with p_t = sigmoid(lse_t - s+_t), d loss_t / d lse_t = p_t.

    A token whose whole pool is masked has no gradient.
    """
    users_TD, positives_TD, negatives_ND = (each.double() for each in (users_TD, positives_TD, negatives_ND))
    grad_users_TD, grad_positives_TD = torch.empty_like(users_TD), torch.empty_like(positives_TD)
    grad_negatives_ND = torch.zeros_like(negatives_ND)
    for start in range(0, len(users_TD), CHUNK):
        rows = slice(start, start + CHUNK)
        user_CD, positive_CD = users_TD[rows], positives_TD[rows]
        logits_CN = user_CD @ negatives_ND.T - log_expected_N.double()
        logits_CN[positive_ids_T[rows, None] == negative_ids_N] = -torch.inf
        pull_C = torch.sigmoid(logits_CN.logsumexp(dim=1) - (user_CD * positive_CD).sum(dim=1)) / len(users_TD)
        weights_CN = logits_CN.softmax(dim=1).nan_to_num_(0.0) * pull_C[:, None]
        grad_users_TD[rows] = weights_CN @ negatives_ND - pull_C[:, None] * positive_CD
        grad_positives_TD[rows] = -pull_C[:, None] * user_CD
        grad_negatives_ND += weights_CN.T @ user_CD
    return grad_users_TD, grad_positives_TD, grad_negatives_ND


def gradient_error(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in zip(found, exact, strict=True))


def milliseconds(step: Callable[[], Any]) -> float:
    """The median by CUDA events, after a warm-up."""
    for _ in range(WARM):
        step()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    taken: list[float] = []
    started = time.perf_counter()
    while len(taken) < REPETITIONS and (len(taken) < 3 or time.perf_counter() - started < SECONDS):
        begin.record()
        step()
        end.record()
        end.synchronize()
        taken.append(begin.elapsed_time(end))
    return statistics.median(taken)


# Training.


def trainings(out: Path, events: Path) -> Iterator[Row]:
    yield Row("training", "ml-1m, end to end", "recsys run", outcome(train, out, events))


def train(out: Path, events: Path) -> str:
    """``recsys run``, in a folder of its own: a finished one would only be shown again."""
    need(*NEEDED)
    if not events.exists():
        return f"not run: needs the events of ml-1m at {events}, or --events PATH"
    run = Path(tempfile.mkdtemp(prefix="ml-1m-", dir=out)) / "run"
    command = [
        sys.executable, "-m", "recsys.cli", "run", "--config", "examples/ml-1m.toml", "--out", str(run.resolve()),
        "--set", f"data.events={events.resolve()}", "--set", "training.device=cuda",
        "--registry", f"sqlite:///{run.parent.resolve()}/mlflow.db",
    ]  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run(command, check=False, cwd=ROOT)
    if done.returncode:
        return f"failed: exit code {done.returncode}, the reason is in its output"
    return training_figures(run, time.perf_counter() - started)


def training_figures(run: Path, seconds: float) -> str:
    from training import checkpoint

    progress = checkpoint.load(run / "model.safetensors", {}).progress
    tokens, trained = (sum(epoch[key] for epoch in progress.history) for key in ("tokens", "seconds"))
    test = json.loads((run / "records" / "evaluation.json").read_text())["methods"]["model"]["ndcg@10"]["mean"]
    return (
        f"{seconds:,.0f} s in all, {tokens / trained:,.0f} tokens/s over {len(progress.history)} epochs, "
        f"NDCG@10 validation {progress.best_score:.4f}, test {test:.4f}"
    )


# Search.

Array = npt.NDArray[Any]
ITEMS, USERS, DIM, K, CHECKED = 1_000_000, 65_536, 64, 100, 64
PASSES, PATIENCE = 3, 60.0  # no further pass begins after so many seconds


def searches() -> Iterator[Row]:
    for label in SEARCHES:
        result = apart(time_search, (label, ITEMS, USERS))[0]
        yield Row("search", f"top {K} of {ITEMS:,}, d = {DIM}, {USERS:,} users", label, result)


def time_search(label: str, num_items: int, num_users: int) -> str:
    generator = np.random.default_rng(0)
    items_ND = generator.normal(size=(num_items, DIM)).astype(np.float32)
    items_ND /= np.linalg.norm(items_ND, axis=1, keepdims=True)
    users_BD = generator.normal(size=(num_users, DIM)).astype(np.float32)
    ask = SEARCHES[label](items_ND)
    recall = recall_of(ask(users_BD)[:CHECKED], items_ND, users_BD[:CHECKED])
    taken: list[float] = []
    while len(taken) < PASSES and sum(taken) < PATIENCE:
        started = time.perf_counter()
        ask(users_BD)
        taken.append(time.perf_counter() - started)
    return f"{num_users / statistics.median(taken):,.0f} users/s, recall {recall:.5f}"


def recall_of(rows_BK: Array, items_ND: Array, users_BD: Array) -> float:
    """The share of the true K best, by float64, that was found; rows count from 0."""
    scores_BN = torch.from_numpy(users_BD).to(DEVICE).double() @ torch.from_numpy(items_ND).to(DEVICE).double().T
    best_BK = scores_BN.topk(K, dim=1).indices.cpu().numpy()
    return float(np.mean([np.isin(best, rows).mean() for best, rows in zip(best_BK, rows_BK, strict=True)]))


Ask = Callable[[Array], Array]  # users [B, D] to rows [B, K], from 0


def by_topk(items_ND: Array) -> Ask:
    items = torch.from_numpy(items_ND).to(DEVICE)
    chunk = max(1, 2**28 // len(items))  # 1 GiB of scores

    def ask(users_BD: Array) -> Array:
        users = torch.from_numpy(users_BD).to(DEVICE)
        return torch.cat([(part @ items.T).topk(K, dim=1).indices for part in torch.split(users, chunk)]).cpu().numpy()

    return ask


def by_faiss(items_ND: Array) -> Ask:
    faiss = gpu_faiss()
    resources, flat = faiss.StandardGpuResources(), faiss.IndexFlatIP(items_ND.shape[1])
    flat.add(items_ND)
    index = faiss.index_cpu_to_gpu(resources, 0, flat)
    return lambda users_BD: index.search(users_BD, K)[1]


def by_flashlib(items_ND: Array) -> Ask:
    from flashlib import flash_knn  # type: ignore[import-not-found]

    items = torch.from_numpy(items_ND).to(DEVICE)

    def ask(users_BD: Array) -> Array:
        rows: Tensor = flash_knn(torch.from_numpy(users_BD).to(DEVICE), items, K, return_distances=False)
        return rows.cpu().numpy()

    return ask


def by_item_index(items_ND: Array) -> Ask:
    gpu_faiss()
    from recsys.index import ItemIndex

    index = ItemIndex.build(np.concatenate([np.zeros_like(items_ND[:1]), items_ND]), kind="exact", device=DEVICE)
    return lambda users_BD: index.search(users_BD, K)[0] - 1


def gpu_faiss() -> Any:
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        raise ModuleNotFoundError(name="a faiss that sees the GPU (faiss-gpu-cuvs in place of faiss-cpu)")
    return faiss


SEARCHES = {
    "matmul + torch.topk, chunked": by_topk,
    "FAISS-GPU flat": by_faiss,
    "FlashLib flash_knn": by_flashlib,
    "ours, ItemIndex on cuda": by_item_index,
}


# Parity.


def parities() -> Iterator[Row]:
    result = apart(parity, (100_000, 4_096))[0]
    yield Row("parity", "top 100 of 100,000 with ties, 4,096 users with exclusions", "ItemIndex, cuda and cpu", result)


def parity(num_items: int, num_users: int) -> str:
    """Items of which every tenth is a copy of another, so that there are ties to break."""
    if DEVICE == "cuda":
        gpu_faiss()
    from recsys.history import Jagged
    from recsys.index import ItemIndex

    generator = np.random.default_rng(0)
    vectors_ND = generator.normal(size=(num_items + 1, DIM)).astype(np.float32)
    vectors_ND[0] = 0.0
    vectors_ND[10::10] = vectors_ND[9:-1:10]
    users_BD = generator.normal(size=(num_users, DIM)).astype(np.float32)
    lengths_B = generator.integers(0, 50, num_users)
    excluded = Jagged.from_lengths(generator.integers(1, num_items + 1, lengths_B.sum()).astype(np.int32), lengths_B)
    answers = [
        ItemIndex.build(vectors_ND, kind="exact", device=device).search(users_BD, K, excluded=excluded)
        for device in ("cpu", DEVICE)
    ]
    (cpu_BK, cpu_scores_BK), (gpu_BK, gpu_scores_BK) = answers
    different = int((cpu_BK != gpu_BK).any(axis=1).sum())
    score = float(np.abs(cpu_scores_BK - gpu_scores_BK).max())
    found = f"positions differ for {different:,} of {num_users:,} users, scores by at most {score:.1e}"
    return f"failed: {found}" if different else found


# Tests.


def tests() -> Iterator[Row]:
    for label, arguments in (
        ("those marked gpu", ["-m", "gpu"]),
        ("the fused kernel's", ["tests/test_fused_softmax.py"]),
    ):
        yield Row("tests", "pytest", label, outcome(run_tests, arguments))


def run_tests(arguments: list[str]) -> str:
    need("pytest", "hypothesis", *NEEDED)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    sys.stdout.write(done.stdout)
    counts = (done.stdout.splitlines() or [f"exit code {done.returncode}"])[-1].strip("= ")
    return f"failed: {counts}" if done.returncode else counts


# The table.


def table(machine: str, rows: list[Row]) -> str:
    parts = ["# What only a GPU can show\n", f"`python -m benchmarks.gpu` on {machine}.\n"]
    parts += ["| check | work | contestant | result |", "|---|---|---|---|"]
    parts += [f"| {row.check} | {row.work} | {row.contestant} | {row.result.replace('|', '/')} |" for row in rows]
    return "\n".join(parts) + "\n" + NOTES.format(repetitions=REPETITIONS, seconds=SECONDS)


def machine() -> str:
    device = torch.cuda.get_device_properties(0)
    versions = [f"torch {torch.__version__}", f"CUDA {torch.version.cuda}"]
    for name in ("triton", "faiss-gpu-cuvs", "flashlib"):
        if importlib.util.find_spec(name.split("-")[0]) is not None:
            try:
                versions.append(f"{name} {importlib.metadata.version(name)}")
            except importlib.metadata.PackageNotFoundError:  # of another distribution
                continue
    return f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {', '.join(versions)}"


def main() -> None:
    checks = ("loss", "training", "search", "parity", "tests")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=checks, default=checks)
    parser.add_argument("--events", type=Path, default=ML_1M, help="those of ml-1m")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.stderr.write(
            f"torch {torch.__version__} finds no GPU, expected an NVIDIA GPU and the CUDA build of torch; on a machine "
            "with one, pip install -e '.[cuda,dev]' and run this again\n"
        )
        sys.exit(2)
    given.out.mkdir(parents=True, exist_ok=True)
    measured: dict[str, Callable[[], Iterator[Row]]] = {
        "loss": losses, "training": partial(trainings, given.out, given.events), "search": searches,
        "parity": parities, "tests": tests,
    }  # fmt: skip
    rows: list[Row] = []
    for name in given.rows:
        for row in measured[name]():
            rows.append(row)
            sys.stdout.write(f"{row.check}, {row.work}, {row.contestant}: {row.result}\n")
            sys.stdout.flush()
            (given.out / "GPU.md").write_text(table(machine(), rows))
    sys.stdout.write(f"\n{table(machine(), rows)}")
    sys.exit(any(row.result.startswith("failed") for row in rows))


if __name__ == "__main__":
    main()
