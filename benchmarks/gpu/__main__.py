"""What only a GPU can show, by one command, in less than 13 minutes.

    python -m benchmarks.gpu --out DIR [--parts loss search] [--data FOLDER]

loss: sampled softmax forward and backward, four ways, and whether two processes compute the same bits. search: the
exact top 100 of a million items for a million users, and the CPU's answers beside it. tests: those that are skipped
without a GPU. ml-1m: from its events (--data) to test NDCG, with the share of time in kernels. 10m: training steps
over ten million items.

Each part has its cap in seconds, and what is left then is not run. Every result is added to DIR/gpu.jsonl at once, so
an interrupted run keeps what it has measured; DIR/gpu.md shows the same as a table. Each contestant has a process of
its own, and one whose library is missing says which. --device cpu --small tries the script itself, in a minute.
Exit codes: 1 where a check failed, 2 without a GPU.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import monotonic

import torch

from benchmarks.gpu import rows
from benchmarks.gpu.gpu_tests import gpu_tests
from benchmarks.gpu.loss import losses
from benchmarks.gpu.rows import ROOT, Figures, Job, Row, execute
from benchmarks.gpu.search import searches
from benchmarks.gpu.training import ml_1m, ten_million

CAPS = {"loss": 200, "search": 120, "tests": 100, "ml-1m": 210, "10m": 130}  # seconds
ML_1M = ROOT.parent / "shared" / "data" / "ml-1m"
LIBRARIES = ("torch", "triton", "faiss-gpu", "faiss-cpu", "fbgemm-gpu", "torchrec", "polars")
NOTES = """
Loss: the mean loss of B tokens against N negatives and its gradients to users, positives and negatives, all float32
leaves; medians after a warm-up. Peak memory is beyond the inputs. The share is of the bf16 product of two 8192 x 8192
matrices in the same process, and counts three products, 3 * 2 * B * N * d operations, for everyone: logits, gradient to
users, gradient to negatives. What a method computes again is not counted. The gradient's error is the largest
difference from float64 over the largest float64 entry, the worst of the three gradients. float32, tf32, bf16: what the
matrix products are made of; sums are float32.

Search: NumPy in, NumPy out, items already on the GPU, after a warm-up; recall against float64. FlashLib knows squared
L2 only, so the items have length 1, where that is the same order.

Training: an epoch's seconds hold its validation and its checkpoint, too. A step waits for its batch, where the batch is
not ready. Launches and waits are those of the host, from the profile.
"""


def parts(data: Path) -> dict[str, Callable[[], Iterator[Job]]]:
    """The jobs of every part, in the order in which they run."""
    return {
        "loss": losses, "search": searches, "tests": gpu_tests, "ml-1m": partial(ml_1m, data), "10m": ten_million,
    }  # fmt: skip


def measure(jobs: Iterator[Job], seconds: float) -> Iterator[Row]:
    """The rows of the jobs, which share the time."""
    deadline = monotonic() + seconds
    for job in jobs:
        yield from execute(job, deadline - monotonic())


def record(row: Row, path: Path) -> None:
    """Add a row to a file of JSON lines, and see it on the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(row)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def table(measured: list[Row]) -> str:
    """The rows as a page."""
    lines = ["# What only a GPU can show\n", "| part | work | contestant | result |", "|---|---|---|---|"]
    lines += [f"| {row.part} | {row.work} | {row.contestant} | {shown(row.figures)} |" for row in measured]
    return "\n".join(lines) + "\n" + NOTES


def shown(figures: Figures) -> str:
    words = []
    for name, value in figures.items():
        if isinstance(value, float):
            value = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
        words.append(f"{name}: {value}".replace("|", "/"))
    return ", ".join(words)


def machine() -> Row:
    versions: Figures = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    if rows.DEVICE == "cuda":
        device = torch.cuda.get_device_properties(0)
        memory = f"{device.total_memory / 2**30:.0f} GiB"
        versions |= {"GPU": device.name, "memory": memory, "CUDA": str(torch.version.cuda)}
    return Row("machine", platform.machine(), rows.DEVICE, versions)


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=tuple(CAPS), default=tuple(CAPS))
    parser.add_argument("--data", type=Path, default=ML_1M, help="the folder of ml-1m's events.parquet")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; returns the exit code."""
    chosen = options(arguments)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write(
            f"torch {torch.__version__} finds no GPU, expected an NVIDIA GPU and the CUDA build of torch; on a machine "
            "with one, pip install -e '.[cuda,cuda-search,dev]' and run this again\n"
        )
        return 2
    rows.DEVICE, rows.SMALL = chosen.device, chosen.small
    chosen.out.mkdir(parents=True, exist_ok=True)
    jobs, measured = parts(chosen.data), list[Row]()

    def add(row: Row) -> None:
        measured.append(row)
        record(row, chosen.out / "gpu.jsonl")
        (chosen.out / "gpu.md").write_text(table(measured), encoding="utf-8")
        sys.stdout.write(f"{row.part}, {row.work}, {row.contestant}: {shown(row.figures)}\n")
        sys.stdout.flush()

    add(machine())
    for name in CAPS:
        for row in measure(jobs[name](), CAPS[name]) if name in chosen.parts else ():
            add(row)
    return int(any("failed" in row.figures for row in measured))


if __name__ == "__main__":
    sys.exit(main())
