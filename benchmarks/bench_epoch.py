"""Seconds of one epoch: our loop (loader, objective, state.step) against a bare PyTorch loop of the same model.

Both see the same batches of a synthetic log the size of ml-1m. The bare loop has its batches ready in memory, the loss
written plainly (cross entropy over [positive, negatives] logits), torch's own AdamW, no running average and no promise
of the same bits. They take turns, a few steps each, so that a busy machine is as busy for one as for the other.

    OMP_NUM_THREADS=1 python benchmarks/bench_epoch.py --steps 200
"""

import argparse
import itertools
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch.nn import functional as F

from features.build import build
from recsys.config import parse_config
from recsys.model import TwoTower
from training.batches import make_loader, steps_on
from training.description import TrainingDescription
from training.device import choose_device, use_deterministic_algorithms
from training.objective import Objective
from training.state import TrainingState

TURN = 4  # steps


def make_dataset(folder, num_users, num_items):
    """Log-normal lengths of mean about 110 once cut to 200, items by Zipf's law."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(4.55, 0.95, num_users).astype(np.int64).clip(20, 1_500)
    share = 1.0 / np.arange(5, num_items + 5)
    events = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(num_users), lengths),
            "item_id": rng.choice(num_items, lengths.sum(), p=share / share.sum()),
            "time": np.arange(lengths.sum()),
        }
    )
    events.write_parquet(folder / "events.parquet")
    data = {"events": str(folder / "events.parquet"), "time": "time"}
    config = parse_config(
        {"data": data, "model": {"dropout": 0.3, "num_members": 1}, "training": {"batch_tokens": 4096}}, "bench"
    )
    return config, build(config, folder / "dataset")


def bare_step(model, optimizer, step):
    items_MD, users_TD, temperature = model(step.batch)
    logits_TN = users_TD @ F.embedding(step.pool, items_MD).T
    hits_TN = step.labels[:, None] == step.pool
    shift = np.log(len(step.pool) / (model.spec.num_rows - 1))
    logits_TN = (logits_TN / temperature - shift).masked_fill(hits_TN, -torch.inf)
    positive_T1 = (users_TD * F.embedding(step.labels, items_MD)).sum(dim=1, keepdim=True) / temperature
    logits = torch.cat([positive_T1, logits_TN], dim=1)
    loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def by_turns(loops, running, num_steps):
    """Seconds of every turn of each loop; who begins changes from turn to turn."""
    taken = [], []
    for start in range(0, num_steps, TURN):
        count = min(TURN, num_steps - start)
        for which in (0, 1) if start // TURN % 2 else (1, 0):
            started = time.perf_counter()
            loops[which](running[which], count)
            taken[which].append(time.perf_counter() - started)
    return taken


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=6_000)
    parser.add_argument("--items", type=int, default=3_400)
    parser.add_argument("--steps", type=int, default=200, help="at most, of either loop")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--profile", action="store_true", help="print the operations that cost most")
    return parser.parse_args()


def report(taken, num_steps, tokens):
    """Print seconds, milliseconds a step and tokens a second of both loops, and their ratio."""
    seconds = [sum(times) for times in taken]
    ratios = [a / b for a, b in zip(*taken, strict=True)]
    print(f"{'loop':<12}{'s':>8}{'ms/step':>10}{'tokens/s':>11}")
    for name, value in zip(("ours", "bare torch"), seconds, strict=True):
        print(f"{name:<12}{value:>8.1f}{1000 * value / num_steps:>10.1f}{tokens / value:>11,.0f}")
    print(f"\nratio {seconds[0] / seconds[1]:.3f} (median of turns {statistics.median(ratios):.3f}); required: 1.3")


def main():
    options = read_options()
    use_deterministic_algorithms()
    device = choose_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        config, dataset = make_dataset(Path(folder), options.users, options.items)
        training = TrainingDescription.of(config, dataset)
        recipe, loader = training.recipe, make_loader(training)
        objective = Objective(training, loader, device)
    torch.manual_seed(0)
    models = TwoTower(recipe.model).to(device), TwoTower(recipe.model).to(device)
    models[1].load_state_dict(models[0].state_dict())
    state = TrainingState(models[0], recipe.learning_rate, recipe.weight_decay, config.training.average_decay)
    optimizer = torch.optim.AdamW(models[1].parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    ready = list(itertools.islice(steps_on(device, loader.epoch(1)), options.steps))
    positions = sum(step.batch.inputs.numel() for step in ready)
    tokens = sum(len(step.labels) for step in ready)

    def ours(steps, last):
        for _ in range(last):
            step = next(steps)
            loss = objective(models[0], step)
            if not torch.isfinite(loss):
                raise ValueError(loss)
            state.step(loss)
        return loss.item()

    def bare(steps, last):
        torch.use_deterministic_algorithms(False)
        for _ in range(last):
            loss = bare_step(models[1], optimizer, next(steps))
        torch.use_deterministic_algorithms(True)
        return loss.item()

    if options.profile:
        steps = iter(loader.epoch(1))
        ours(steps, 2)
        with torch.profiler.profile() as profile:
            ours(steps, 10)
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=50))
        return

    loops = ours, bare
    for loop, steps in zip(loops, (iter(loader.epoch(2)), iter(ready)), strict=True):
        loop(steps, 2)
    taken = by_turns(loops, (iter(loader.epoch(1)), iter(ready)), len(ready))
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {device}, torch {torch.__version__}")
    print(f"{options.users:,} users, {options.items:,} items, {len(ready)} steps, {tokens:,} tokens, ", end="")
    print(f"{1 - tokens / positions:.1%} padding\n")
    report(taken, len(ready), tokens)


if __name__ == "__main__":
    main()
