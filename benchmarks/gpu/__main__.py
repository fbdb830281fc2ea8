"""What only a GPU can show, in one table.

    python -m benchmarks.gpu --out DIR [--rows loss search] [--events ml-1m/events.parquet]

loss: sampled softmax forward and backward, four ways. training: ml-1m end to end, by the command line. search: the
exact top 100 of a million items. parity: the index on the GPU gives the CPU's answers. tests: those that are skipped
without a GPU. The table is DIR/GPU.md, rewritten after every row. Each contestant has a process of its own; a row whose
library is missing says which. Exit codes: 1 where a check failed, 2 without a GPU.
"""

import argparse
import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu.loss import REPETITIONS, SECONDS, losses
from benchmarks.gpu.rows import ROOT, Row, need, outcome
from benchmarks.gpu.search import parities, searches
from benchmarks.gpu.training import trainings
from recsys.actions import LIBRARIES

ML_1M = ROOT.parent / "shared" / "data" / "ml-1m" / "events.parquet"
NOTES = """
Loss: the mean loss of B tokens against N negatives and its gradients to users, positives and negatives, all float32
leaves; the median of {repetitions} runs between CUDA events (of at least 3 within {seconds:.0f} s). Memory is the peak
beyond the inputs. The share is of the bf16 product of two 8192 x 8192 matrices in this same run, and counts three
products, 3 * 2 * B * N * d operations, for everyone: logits, gradient to users, gradient to negatives. What a method
computes again is not counted: the chunked and the fused loss execute four products. The gradient's error is the
largest difference from float64 over the largest float64 entry, the worst of the three gradients. float32, TF32, bf16:
what the matrix products are made of; sums are float32.

Search: NumPy in, NumPy out, items already on the GPU, the median of up to 3 passes after one more; recall against
float64. FlashLib knows squared L2 only, so the items have length 1, where that is the same order.
"""


def tests() -> Iterator[Row]:
    for label, arguments in (
        ("those marked gpu", ["-m", "gpu"]),
        ("the fused kernel's", ["tests/training/loss/fused_cases.py"]),
    ):
        yield Row("tests", "pytest", label, outcome(run_tests, arguments))


def run_tests(arguments: list[str]) -> str:
    need("pytest", "hypothesis", *LIBRARIES)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    sys.stdout.write(done.stdout)
    counts = (done.stdout.splitlines() or [f"exit code {done.returncode}"])[-1].strip("= ")
    return f"failed: {counts}" if done.returncode else counts


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
