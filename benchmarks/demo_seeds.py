"""The demo's world over several seeds: is it neither easy for simple methods nor out of reach for the model?

    python benchmarks/demo_seeds.py --seeds 0 1 2 --out DIR

Prints test NDCG@10 of every method as a share of the best possible. Demanded: popularity at most 30%, item-kNN at most
75%, the model at least 85%.
"""

import argparse
import time
from pathlib import Path

import polars as pl

from features.build import build
from recsys import demo
from recsys.config import load_config
from recsys.retriever import Retriever
from recsys.synthetic import make_world
from training.loop import train
from training.publish import publish


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        out, started = arguments.out / f"seed-{seed}", time.perf_counter()
        config = load_config(demo.write_world(out, seed=seed))
        train(config, build(config, out / "run" / "dataset"), out / "run", resume=True)
        record = publish(out / "run", registry_uri=f"sqlite:///{out.resolve()}/mlflow.db").evaluation
        queries = pl.read_parquet(out / "run" / "queries_test.parquet")
        best = demo.best_possible(make_world(seed=seed), queries, Retriever.load(out / "run" / "bundle"))
        shares = "  ".join(f"{name} {figures['ndcg@10'].mean / best:.1%}" for name, figures in record.methods.items())
        print(f"seed {seed}: best possible {best:.4f}  {shares}  ({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
