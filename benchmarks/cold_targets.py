"""Cold targets: how well a training finds the items that had no training event when users chose them.

    python benchmarks/cold_targets.py --run RUN [--queries validation|test] [--out BUNDLE]

RUN is a folder of `recsys train`, on a temporal split and a catalogue of all items of the metadata. Recall@100 on the
cold targets of popularity, and of the two towers and metadata-kNN over the same history (plain, and TF-IDF), over the
whole catalogue and among the cold items alone; then what all queries get, and the share of cold items in their top 100
beside the share of cold items among the targets. Choices are made on validation queries, and test queries are looked
at once.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.sparse import diags_array

from recsys import metrics
from recsys.data import Int32, Jagged, encode_lists
from recsys.retriever import Retriever
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.evaluation import BASELINES, RankingTask, feature_matrix, metadata_knn
from training.publish import seal

SEED = 0
K = 100


def print_recall(name: str, ranked: Int32, wanted: Jagged) -> None:
    """One line of Recall@100 on the cold targets."""
    mean = metrics.bootstrap_mean(metrics.recall(metrics.hits(ranked, wanted), wanted.lengths, K), seed=SEED)
    print(f"Recall@{K} on cold targets: {mean.mean:.4f} [{mean.low:.4f}, {mean.high:.4f}] {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--queries", choices=("validation", "test"), default="validation")
    parser.add_argument("--out", type=Path, help="where the bundle is sealed; RUN/bundle unless given")
    arguments = parser.parse_args()
    training = TrainingDescription.read(arguments.run)
    bundle = arguments.out or arguments.run / "bundle"
    seal(training, checkpoint.load(arguments.run / "model.safetensors"), bundle)
    retriever = Retriever.load(bundle)
    encoder, queries = retriever.bundle.encoder, training.dataset.queries(arguments.queries)
    history, targets = (encode_lists(encoder, queries[name]) for name in ("history", "targets"))
    rows = retriever.user_rows(queries["user_id"])
    cold = np.arange(encoder.num_items + 1) > encoder.num_trained
    is_cold = targets.count(cold[targets.values]) > 0
    asked = np.flatnonzero(is_cold)
    print(
        f"{len(asked):,} of {len(targets):,} {arguments.queries} queries have a cold target; {cold.sum():,} of "
        f"{encoder.num_items:,} items are cold"
    )
    features = feature_matrix(encoder.item_transforms, training.dataset.item_features())
    rare = np.log(features.shape[0] / np.maximum((features != 0).sum(axis=0), 1)).astype(np.float32)
    some, wanted = history.take(asked), targets.take(asked).keep(cold[targets.take(asked).values])
    popularity = next(baseline for baseline in BASELINES if baseline.name == "popularity")
    task = RankingTask(training.dataset.train()[1], encoder.num_items, ordered=True, histories=some, k=K)
    print_recall("popularity", popularity.rank(task), wanted)
    for among, candidates in (("", None), (", among cold items alone", cold)):
        for name, ranked in {
            "two towers": retriever.rank(some, rows[asked], k=K, allowed=candidates).positions,
            "metadata-kNN": metadata_knn(features, some, K, candidates=candidates),
            "metadata-kNN, TF-IDF": metadata_knn(features @ diags_array(rare), some, K, candidates=candidates),
        }.items():
            print_recall(name + among, ranked, wanted)
    top = retriever.rank(history, rows, k=K).positions
    hits, num = metrics.hits(top, targets), metrics.count_targets(targets)
    for name, values in (("NDCG@10", metrics.ndcg(hits, num, 10)), ("Recall@10", metrics.recall(hits, num, 10))):
        mean = metrics.bootstrap_mean(values, seed=SEED)
        warm = values[~is_cold].mean()
        print(f"all queries {name} {mean.mean:.4f} [{mean.low:.4f}, {mean.high:.4f}]; of warm targets {warm:.4f}")
    share, truth = cold[top].sum() / (top > 0).sum(), cold[targets.values].sum() / num.sum()
    print(f"cold items are {share:.2%} of the top {K}, {truth:.2%} of the targets: {share / truth:.2f} times")


if __name__ == "__main__":
    main()
