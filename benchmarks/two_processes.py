"""One process against two through DistributedModelParallel, at the same global batch and table optimizer.

    python benchmarks/two_processes.py --config demo/demo.toml --epochs 6 --out DIR

Prints the best validation NDCG@10 of: AdamW in one process (the default), row-wise Adagrad tables in one process, the
same in two (torchrun, gloo or nccl), and what one process makes of the two's checkpoint in one more epoch.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from training.checkpoints import checkpoint
from training.learning_curve import Progress

ADAGRAD = ["--set", "training.table_optimizer=rowwise_adagrad"]


def train(launcher: list[str], config: str, out: Path, name: str, epochs: int, *more: str) -> Progress:
    command = [*launcher, "-m", "recsys.cli", "train", "--config", config, "--dataset", str(out / "dataset"), "--out",
               str(out / name), "--set", f"training.epochs={epochs}", *more]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return checkpoint.load(out / name / "model.safetensors").progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    config, out, epochs = arguments.config, arguments.out, arguments.epochs
    alone = [sys.executable]
    together = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    build = [*alone, "-m", "recsys.cli", "build", "--config", config, "--out", str(out / "dataset")]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    runs = {
        "AdamW, 1 process (default)": train(alone, config, out, "adamw", epochs),
        "row-wise Adagrad, 1 process": train(alone, config, out, "one", epochs, *ADAGRAD),
        "row-wise Adagrad, 2 processes": train(together, config, out, "two", epochs, *ADAGRAD),
    }
    runs["  its checkpoint, resumed on 1"] = train(alone, config, out, "two", epochs + 1, *ADAGRAD, "--resume")
    for name, progress in runs.items():
        print(f"{name:32s} validation ndcg@10 {progress.best_score:.4f} at epoch {progress.best_epoch}")


if __name__ == "__main__":
    main()
