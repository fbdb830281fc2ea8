"""Cold items: withhold 10% of a data set's items from training and ask where metadata alone puts them.

    python benchmarks/cold_items.py --events EVENTS --items ITEMS --config examples/amazon-beauty.toml --out DIR

Training sees no event of a withheld item. Queries are the users whose last event is one; the history is what came
before, without withheld items. Ranked among the withheld items only, beside metadata-kNN over the same history; and
over the whole catalogue, where their share of the top 100 is printed, and what the other queries lose to them: compare
their NDCG@10 with that of a run with --set model.id_dropout=0.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import diags_array

from features.build import build
from recsys import metrics
from recsys.config import load_config
from recsys.data import encode_lists
from recsys.retriever import Retriever
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.evaluation import feature_matrix, metadata_knn
from training.loop import train
from training.publish import seal

SHARE = 0.1
SEED = 0


def withhold(events: pl.DataFrame, time: str, out: Path) -> None:
    """Write events.parquet (all but the last event of each user, none of a withheld item) and test.parquet."""
    items = events["item_id"].unique().sort()
    withheld = items.sample(fraction=SHARE, seed=SEED)
    last = pl.col(time) == pl.col(time).max().over("user_id")
    events.filter(~last & ~pl.col("item_id").is_in(withheld.implode())).write_parquet(out / "events.parquet")
    events.filter(last).write_parquet(out / "test.parquet")
    withheld.to_frame().write_parquet(out / "withheld.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("events", "items", "config", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    settings = [f"data.events={out}/events.parquet", f"data.items={arguments.items}", "data.catalogue=all",
                "split.kind=given", f"split.test={out}/test.parquet"]  # fmt: skip
    config = load_config(Path(arguments.config), (*settings, *arguments.settings))
    assert config.data.time is not None
    withhold(pl.read_parquet(arguments.events), config.data.time, out)
    dataset = build(config, out / "dataset")
    train(config, dataset, out / "run", resume=True)
    trained = checkpoint.load(out / "run" / "model.safetensors")
    seal(TrainingDescription.read(out / "run"), trained, out / "run" / "bundle")
    retriever = Retriever.load(out / "run" / "bundle")
    encoder = retriever.bundle.encoder
    withheld = encoder.positions(pl.read_parquet(out / "withheld.parquet")["item_id"])
    cold = np.zeros(encoder.num_items + 1, bool)
    cold[withheld] = True
    queries = dataset.queries("test")
    history, targets = (encode_lists(encoder, queries[name]) for name in ("history", "targets"))
    asked = np.flatnonzero(cold[targets.values[targets.offsets[:-1]]])
    history, wanted = history.take(asked), targets.take(asked)
    features = feature_matrix(encoder.item_transforms, dataset.item_features())
    rare = np.log(features.shape[0] / np.maximum((features != 0).sum(axis=0), 1)).astype(np.float32)
    rankings = {
        "two-tower, by metadata": retriever.rank(history, k=100, allowed=cold).positions,
        "metadata-kNN": metadata_knn(features, history, 100, candidates=cold),
        "metadata-kNN, TF-IDF": metadata_knn(features @ diags_array(rare), history, 100, candidates=cold),
    }
    print(f"{len(asked):,} queries whose answer is one of {len(withheld):,} withheld items; ranked among those")
    values = {}
    for name, ranked in rankings.items():
        values[name] = metrics.recall(metrics.hits(ranked, wanted), wanted.lengths, 10)
        interval = metrics.bootstrap_mean(values[name], seed=SEED)
        print(f"{name:24s} HR@10 {interval.mean:.4f}  [{interval.low:.4f}, {interval.high:.4f}]")
    ours, *baselines = values
    for name in baselines:
        gain = metrics.paired_bootstrap(values[ours], values[name], seed=SEED)
        ratio = values[ours].mean() / values[name].mean()
        print(f"{ratio:.2f} times {name}: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
    others = np.setdiff1d(np.arange(len(targets)), asked)
    everyone, answers = encode_lists(encoder, queries["history"]).take(others), targets.take(others)
    for name, allowed in (("whole catalogue", None), ("without the withheld", ~cold)):
        ranked = retriever.rank(everyone, k=10, allowed=allowed).positions
        mean = metrics.ndcg(metrics.hits(ranked, answers), answers.lengths, 10).mean()
        print(f"{len(others):,} other queries, {name}: NDCG@10 {mean:.4f}")
    everyone = encode_lists(encoder, queries["history"])
    top = retriever.rank(everyone.take(np.arange(min(5_000, len(everyone)))), k=100).positions
    share, truth = cold[top].mean(), len(asked) / len(targets)
    print(f"their share of the full-catalogue top 100: {share:.2%}; of the truth: {truth:.2%}")


if __name__ == "__main__":
    main()
