"""What each part of the recipe is worth: variants under one budget, judged on validation, never on test.

    python benchmarks/ablation.py --config examples/amazon-beauty.toml --set data.events=... --epochs 30 --out DIR

Every variant is the default with one thing changed; --only takes some of them, --jobs trains several at once, one
thread each. Prints validation NDCG@10, its difference to the default with a 95% bootstrap interval over users, and the
seconds of training. What stands in DIR is resumed.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from features.build import build
from recsys import metrics
from recsys.config import load_config
from recsys.model import TwoTower
from training import loop, validation
from training.batches.loader import make_loader
from training.checkpoints import checkpoint
from training.description import TrainingDescription

DEFAULT = "default"
VARIANTS = {
    DEFAULT: (),
    "without metadata": ("features.item=[]", "features.user=[]"),
    "every id known (no id dropout)": ("model.id_dropout=0",),
    "dropout .2": ("model.dropout=0.2",),
    "one member": ("model.num_members=1",),
    "one block": ("model.num_layers=1",),
    "pooled history": ("model.history_encoder=pooling",),
    "cosine": ("model.similarity=cosine",),
    "64 negatives": ("loss.num_negatives=64",),
    "negatives by popularity": ("loss.popularity_exponent=1",),
    "in-batch negatives, too": ("loss.in_batch=true",),
    "plain InfoNCE (negative exponent 1)": ("loss.negative_exponent=1",),
    "no averaged weights": ("training.average_decay=0",),
    "no vectors of users' own": ("features.user_id=false",),
    "row-wise Adagrad": ("training.table_optimizer=rowwise_adagrad",),
}


def trained(config_path: Path, settings: tuple[str, ...], out: Path, name: str) -> tuple[metrics.Float64, float, int]:
    """Per-query validation NDCG@10 of a variant's best epoch, the seconds of its training, and that epoch."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    folder = out / name.replace(" ", "-")
    config = load_config(config_path, (*settings, *VARIANTS[name], "training.refit=false"))
    dataset = build(config, folder / "dataset")
    loop.train(config, dataset, folder, resume=True)
    saved, description = checkpoint.load(folder / "model.safetensors"), TrainingDescription.read(folder)
    model = TwoTower(description.recipe.model).eval()
    model.load_state_dict(saved.group("model"))
    queries = validation.validation_set(dataset, seed=config.training.seed)
    loader = make_loader(description)
    values = validation.ndcg_by_query(model, queries, loader, dataset.encoder.num_items, torch.device("cpu"))
    return values, sum(epoch.seconds for epoch in saved.progress.epochs), saved.progress.best_epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    settings = (*arguments.settings, f"training.epochs={arguments.epochs}", f"training.patience={arguments.epochs}")
    names = [DEFAULT, *(name for name in arguments.only if name != DEFAULT)]
    started = time.perf_counter()
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        base = None
        for name, (values, seconds, epoch) in zip(
            names, pool.map(partial(trained, arguments.config, settings, arguments.out), names), strict=True
        ):
            base = values if base is None else base
            difference = metrics.paired_bootstrap(values, base, seed=0)
            print(
                f"{name:38s} {np.mean(values):.4f}  {difference.mean:+.4f} [{difference.low:+.4f}, "
                f"{difference.high:+.4f}]  best epoch {epoch:3d}  {seconds:5.0f} s", flush=True,
            )  # fmt: skip
    print(f"{len(names)} trainings of {arguments.epochs} epochs in {(time.perf_counter() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
