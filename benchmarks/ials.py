"""iALS (Hu, Koren & Volinsky 2008) by `implicit` on a dataset's own split: a baseline that we do not write ourselves.

    python -m venv peers && peers/bin/pip install -r benchmarks/peers.txt
    peers/bin/python benchmarks/ials.py --dataset run/dataset

Factors, regularisation and confidence are chosen by NDCG@10 on the validation queries; the chosen model is trained
again on the histories of the test queries, which hold the validation events. Runs without recsys.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import polars as pl
from implicit.als import AlternatingLeastSquares
from recompute import figures
from scipy.sparse import csr_matrix

REGULARISATION, CONFIDENCE = (0.01, 1.0, 10.0, 100.0), (1.0, 5.0, 20.0, 80.0)
ITERATIONS, SEED, K = 15, 0, 20


def recommended(
    queries: pl.DataFrame, others: pl.DataFrame, factors: int, regularisation: float, confidence: float
) -> pl.DataFrame:
    """user_id, item_id, rank: the top K of a model trained on the queries' histories and those of all other users."""
    histories = pl.concat([queries.select("user_id", "history"), others.join(queries, on="user_id", how="anti")])
    events = histories.select("user_id", item_id="history").explode("item_id", empty_as_null=True)
    items = events["item_id"].unique().sort()
    places = pl.DataFrame({"item_id": items, "column": np.arange(len(items))})
    columns = events.join(places, on="item_id", how="left", maintain_order="left")["column"].to_numpy()
    rows = np.repeat(np.arange(histories.height), histories["history"].list.len().to_numpy())
    seen = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(histories.height, len(items)))
    model = AlternatingLeastSquares(factors=factors, regularization=regularisation, alpha=confidence,
                                    iterations=ITERATIONS, random_state=SEED, num_threads=1)  # fmt: skip
    model.fit(seen, show_progress=False)
    asked = np.arange(queries.height)
    found, _ = model.recommend(asked, seen[asked], N=K, filter_already_liked_items=True)
    return pl.DataFrame({
        "user_id": queries["user_id"].gather(np.repeat(np.arange(len(found)), K)),
        "item_id": items.gather(found.ravel()),
        "rank": np.tile(np.arange(1, K + 1), len(found)),
    })  # fmt: skip


def queries(dataset: Path, name: str) -> pl.DataFrame:
    """Frozen queries in raw ids: the dataset stores rows of logged.arrow."""
    logged = pl.read_ipc(dataset / "catalogue" / "logged.arrow")["item_id"]
    raw = pl.col("history", "targets").list.eval(pl.element().replace_strict(range(len(logged)), logged))
    return pl.read_ipc(dataset / name / "shard-*.arrow").with_columns(raw)


def trained(dataset: Path) -> pl.DataFrame:
    """user_id and history of everybody trained on, in raw ids: the dataset stores places in the catalogue, from 1."""
    items = pl.read_ipc(dataset / "catalogue" / "items.arrow")["item_id"]
    raw = pl.col("positions").list.eval(pl.element().replace_strict(range(1, len(items) + 1), items))
    return pl.read_ipc(dataset / "train" / "shard-*.arrow").select("user_id", history=raw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--factors", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    arguments = parser.parse_args()
    validation, test = (queries(arguments.dataset, name) for name in ("validation", "test"))
    others = trained(arguments.dataset)
    scores = {}
    for setting in itertools.product(arguments.factors, REGULARISATION, CONFIDENCE):
        scores[setting] = figures(recommended(validation, others, *setting), validation, 10)["NDCG@10"]
        print("validation NDCG@10 {:.4f}  factors {}, regularisation {:g}, confidence {:g}".format(
            scores[setting], *setting), flush=True)  # fmt: skip
    best = max(scores, key=lambda setting: scores[setting])
    answers = recommended(test, others, *best)
    print("chosen: factors {}, regularisation {:g}, confidence {:g}; test:".format(*best))
    for k in (10, 20):
        print("  ".join(f"{name} {value:.4f}" for name, value in figures(answers, test, k).items()))


if __name__ == "__main__":
    main()
