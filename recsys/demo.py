"""The demo: a synthetic world as files, and what a newcomer is shown when every stage has run on it."""

from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from . import files, metrics
from .data import encode_lists
from .retriever import Retriever
from .synthetic import World, make_world

NAME = "demo"
SEED = 0
SHOWN_USERS = 3
CONFIG = """\
# The demo's world: a library whose readers have planted tastes.
[data]
events = "events.parquet"
time = "timestamp"
items = "items.parquet"

[[features.item]]
name = "genre"
kind = "categorical"

[[features.item]]
name = "tags"
kind = "multi_categorical"

[[features.item]]
name = "title"
kind = "text"

[[features.item]]
name = "year"
kind = "numeric"

[training]
epochs = 12
learning_rate = 3e-3        # a small world: fewer, larger steps

[registry]
name = "demo"
"""


def write_world(out: Path, *, seed: int = SEED) -> Path:
    """Write events.parquet, items.parquet and demo.toml to ``out`` unless they are there; returns the config's path."""
    config = out / "demo.toml"
    if not config.exists():
        world = make_world(seed=seed)
        for name, frame in (("events", world.events), ("items", world.items)):
            with files.replacing(out / f"{name}.parquet") as temporary:
                frame.write_parquet(temporary)
        with files.replacing(config) as temporary:
            temporary.write_text(CONFIG)
    return config


def best_possible(world: World, queries: pl.DataFrame, retriever: Retriever) -> float:
    """NDCG@10 of whoever knows every reader's true taste: no recommender can be expected to do better."""
    histories = queries.get_column("history").to_list()
    ids = world.best_ranking(queries.get_column("user_id").to_list(), histories, 10)
    ranked = retriever.bundle.encoder.positions(pl.Series(ids.ravel())).reshape(ids.shape)
    targets = encode_lists(retriever.bundle.encoder, queries.get_column("targets"))
    return float(metrics.ndcg(metrics.hits(ranked, targets), targets.lengths, 10).mean())


def show(run: Path, *, seed: int = SEED, console: Console | None = None) -> None:
    """Print the comparison, and some readers with their history and recommendations."""
    console = console or Console(width=110)
    retriever = Retriever.load(run / "bundle")
    queries = pl.read_parquet(run / "queries_test.parquet")
    evaluation = files.read_json(run / "records" / "evaluation.json")
    best = best_possible(make_world(seed=seed), queries, retriever)
    table = Table(title=f"Is the reader's next book near the top? {queries.height:,} readers", min_width=60)
    for heading in ("method", "NDCG@10", "share of the best possible"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    names = {"popularity": "popularity", "item_knn": "item-kNN", "model": "our model"}
    rows = [(label, evaluation["methods"][name]["ndcg@10"]["mean"]) for name, label in names.items()]
    for label, value in [*rows, ("best possible", best)]:
        table.add_row(label, f"{value:.4f}", f"{value / best:.0%}")
    console.print(table)
    shown = queries.sample(SHOWN_USERS, seed=seed)
    answers = retriever.recommend(shown.get_column("history"), k=5)
    titles = retriever.bundle.items.select("item_id", label=pl.format("{} ({} {})", "title", "genre", "year"))
    for row in range(SHOWN_USERS):
        console.print(
            f"\n[bold]{shown['user_id'][row]}[/bold] read last: " + _labels(titles, shown["history"][row].tail(4))
        )
        console.print("  recommended:  " + _labels(titles, answers.item_ids[row]))
        console.print("  read next:    " + _labels(titles, shown["targets"][row]))


def _labels(titles: pl.DataFrame, ids: pl.Series) -> str:
    found = ids.alias("item_id").to_frame().join(titles, on="item_id", how="left", maintain_order="left")
    return "; ".join(found.get_column("label"))
