"""Tables larger than a process: how they are planned, and one that two processes train, and two and one resume.

    python benchmarks/sharded_table.py --rows 16000000 --memory 6 --out DIR
    python benchmarks/sharded_table.py --rows 16000000 --memory 4 --no-average --out DIR

Prints the plans for imaginary GPUs; that one process refuses the table under the cap; and, of the training, each
process's share and its peak memory. The steps are those of training (TrainingState, Saver); their batches are random.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from recsys.errors import InputError
from recsys.model import FeatureRows, ModelSpec, TrainBatch, TwoTower
from training.checkpoints import Identity, Saver
from training.sharding import Processes, TableOptimizer, make_plan, process_group, shard, shares
from training.state import TrainingState

GIB = 1 << 30
SPEC = ModelSpec(
    num_rows=100_000_000, item_transforms=(), user_transforms=(), embedding_dim=64, num_members=1,
    history_encoder="transformer", own_vectors=False, similarity="cosine", num_layers=1, num_heads=2, max_history=16,
    dropout=0.0, id_dropout=0.0, user_dropout=0.0, temperature=0.1, learn_temperature=True,
)  # fmt: skip
ADAGRAD = TableOptimizer("rowwise_adagrad", 3e-3, 0.0, averaged=True)
USERS, LENGTH = 128, 8
LOOKUPS = 1 + 2 * USERS * LENGTH


def print_plans() -> None:
    print(
        "| table | optimizer | GPUs | GiB | plan | shards each | weights | optimizer | average | host | device | of |"
    )
    print("|---|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    adam, no_average = replace(ADAGRAD, name="adamw"), replace(ADAGRAD, name="adamw", averaged=False)
    for dim, optimizer, number, gib in [
        (128, adam, 2, 141), (128, adam, 4, 80), (128, adam, 8, 32), (128, ADAGRAD, 2, 80), (128, ADAGRAD, 4, 40),
        (128, ADAGRAD, 8, 24), (128, no_average, 2, 40), (64, adam, 8, 24), (64, ADAGRAD, 8, 16), (128, adam, 2, 80),
    ]:  # fmt: skip
        processes = Processes(number, number, "cuda", gib * GIB, 100 * GIB)
        model = TwoTower(replace(SPEC, embedding_dim=dim), torchrec=True)
        row = f"| 100M x {dim} | {optimizer.name}{'' if optimizer.averaged else ', no average'} | {number} | {gib} |"
        try:
            made = make_plan(model, optimizer, processes, 8192)
        except InputError as error:
            print(row, "refused:", str(error).split(";", maxsplit=1)[0], "|")
            continue
        table = made.plan["item_tower.ids"]["item"]
        largest = max(shares(made, optimizer, number), key=lambda share: share.device)
        sizes = (largest.weights, largest.optimizer, largest.average, largest.host, largest.device)
        gib_each = " | ".join(f"{size / GIB:.2f}" for size in (*sizes, processes.for_tables(model)))
        print(row, f"{table.sharding_type}, {table.compute_kernel} | {largest.shards} | {gib_each} |")


def random_batch(num_rows: int, generator: torch.Generator) -> TrainBatch:
    rows = torch.cat(
        [torch.zeros(1, dtype=torch.int64), torch.randint(1, num_rows, (USERS * LENGTH,), generator=generator)]
    )
    inputs = torch.arange(1, len(rows)).view(USERS, LENGTH)
    lengths = torch.full((USERS,), LENGTH)
    return TrainBatch(
        rows, FeatureRows(None, None), inputs, lengths, torch.arange(USERS * LENGTH), FeatureRows(None, None)
    )


def work(num_rows: int, memory: float, out: Path, steps: int, optimizer: TableOptimizer) -> None:
    """One process of a training: takes some steps from where the last training stopped, and saves."""
    spec, device = replace(SPEC, num_rows=num_rows), torch.device("cpu")
    started = time.perf_counter()
    with process_group(ADAGRAD.name, device) as world:
        processes = replace(Processes.of(world, device, memory), memory=int(memory * GIB))
        torch.manual_seed(0)
        model = TwoTower(spec, torchrec=True)
        made = world.broadcast(partial(make_plan, model, optimizer, processes, LOOKUPS))
        sharded = shard(model, made, optimizer, device, seed=0)
        state = TrainingState(sharded, optimizer.learning_rate, 0.0, 0.999 if optimizer.averaged else 0.0)
        saver = Saver(out / "checkpoint.safetensors", state, Identity("random", "random", ADAGRAD.name), world)
        saver.resume()
        losses = [take_step(state, num_rows, world.rank) for _ in range(steps)]
        saver.finish_epoch(last=True)
        report = {
            "rank": world.rank, "of": world.size, "steps": state.progress.steps, "loss": [losses[0], losses[-1]],
            "shares": [vars(share) for share in shares(made, optimizer, world.size)][world.rank],
            "seconds": time.perf_counter() - started,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20),
        }  # fmt: skip
        (out / f"report-{world.rank}.json").write_text(json.dumps(report))


def take_step(state: TrainingState, num_rows: int, rank: int) -> float:
    generator = torch.Generator().manual_seed(1000 * (state.progress.steps % 4) + rank)  # four batches, again and again
    state.model.train()
    items_MV, users_TV, temperature = state.model(random_batch(num_rows, generator))
    loss = cross_entropy(users_TV @ items_MV[1:].T / temperature, torch.arange(len(users_TV)).roll(-1))
    state.step(loss)
    state.count(len(users_TV), 0.0)
    return loss.item()


def run(number: int, num_rows: int, memory: float, out: Path, label: str, *more: str) -> None:
    arguments = [__file__, "--rows", str(num_rows), "--memory", str(memory), "--out", str(out), "--steps", "8", *more]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(number)] if number > 1 else []
    done = subprocess.run(
        [sys.executable, *launcher, *arguments], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "InputError" in line]
        print(f"{label}: refused: {lines[-1]}" if lines else done.stderr)
        return
    for rank in range(number):
        report = json.loads((out / f"report-{rank}.json").read_text())
        share = report["shares"]
        held = ", ".join(f"{name} {share[name] / GIB:.2f}" for name in ("weights", "optimizer", "average"))
        first, last = report["loss"]
        print(
            f"{label}: process {rank} of {number} holds {held} GiB, peak {report['peak_gib']:.2f} GiB; "
            f"loss {first:.4f} to {last:.4f} until step {report['steps']}, {report['seconds']:.0f} s", flush=True
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16_000_000)
    parser.add_argument("--memory", type=float, default=6.0, help="GiB that each of two processes may use")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--no-average", action="store_true", help="train without a running average")
    parser.add_argument("--steps", type=int, help="be one process of the training")
    arguments = parser.parse_args()
    rows, memory, out = arguments.rows, arguments.memory, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.steps:
        work(rows, memory, out, arguments.steps, replace(ADAGRAD, averaged=not arguments.no_average))
        return
    more = ["--no-average"] if arguments.no_average else []
    print_plans()
    run(1, rows, memory, out, f"one process under {memory} GiB", *more)
    run(2, rows, memory, out, "two processes", *more)
    run(2, rows, memory, out, "resumed by two", *more)
    run(1, rows, 2 * memory, out, f"resumed by one under {2 * memory} GiB", *more)


if __name__ == "__main__":
    main()
