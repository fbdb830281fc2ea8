"""The demo: a synthetic world as files, and what a newcomer is shown when every stage has run on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import files, metrics
from .answers import Recommendations
from .data import encode_lists
from .retriever import Retriever
from .synthetic import World, make_world

NAME = "demo"
SEED = 0
SAMPLE = 200  # readers, from whom those shown are taken
SHOWN_HITS, SHOWN_MISSES = 2, 1
SHOWN_ITEMS = 5
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
    """Write events.parquet, items.parquet and demo.toml to a folder, unless they are there.

    Returns:
        The path of demo.toml, which is written last.
    """
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
    """The NDCG@10 of a recommender that knows every reader's true taste: no other can be expected to do better."""
    histories = queries.get_column("history").to_list()
    ids = world.best_ranking(queries.get_column("user_id").to_list(), histories, 10)
    ranked = retriever.bundle.encoder.positions(pl.Series(ids.ravel())).reshape(ids.shape)
    targets = encode_lists(retriever.bundle.encoder, queries.get_column("targets"))
    return float(metrics.ndcg(metrics.hits(ranked, targets), targets.lengths, 10).mean())


def show(run: Path, scores: Mapping[str, float], console: Console | None = None, *, world: World | None = None) -> None:
    """Print how good the model is, and a few readers with their history and recommendations.

    Args:
        run: The folder of a published run.
        scores: NDCG@10 on the test queries by method, the model last.
        console: Where to print; None is the terminal.
        world: The world that the run was trained on; None is the one that ``write_world`` writes.
    """
    console = console or Console(width=110)
    retriever = Retriever.load(run / "bundle")
    queries = pl.read_parquet(run / "queries_test.parquet")
    best = best_possible(world or make_world(seed=SEED), queries, retriever)
    console.print(comparison(scores, best, queries.height))
    for part in readers(retriever, queries):
        console.print(part)


def comparison(scores: Mapping[str, float], best: float, num_readers: int) -> Table:
    """The scores of the methods, and what share of the best possible score each reaches."""
    table = Table(title=f"Is the reader's next book near the top? {num_readers:,} readers", min_width=60)
    for heading in ("method", "NDCG@10", "share of the best possible"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for name, score in [*scores.items(), ("best possible", best)]:
        table.add_row(name, f"{score:.4f}", f"{score / best:.0%}")
    return table


@dataclass(frozen=True)
class Examples:
    """Rows of a sample of the readers: some whose next book was recommended, and some whose was not.

    num_hits: how many readers of the whole sample have theirs among the recommendations.
    """

    hits: list[int]
    misses: list[int]
    num_hits: int


def choose(answers: Recommendations, targets: pl.Series) -> Examples:
    """Take the first readers with a hit and the first without, so that a run always shows the same ones."""
    hit = np.array([
        bool({*recommended} & {*taken})
        for recommended, taken in zip(answers.item_ids.to_list(), targets.to_list(), strict=True)
    ])  # fmt: skip
    return Examples(
        hits=np.flatnonzero(hit)[:SHOWN_HITS].tolist(),
        misses=np.flatnonzero(~hit)[:SHOWN_MISSES].tolist(),
        num_hits=int(hit.sum()),
    )


def readers(retriever: Retriever, queries: pl.DataFrame) -> Iterator[Table | str]:
    """A few readers of a random sample, with a mark at the recommended book that the reader took next."""
    sample = queries.sample(min(SAMPLE, queries.height), seed=SEED)
    answers = retriever.recommend(sample.get_column("history"), k=SHOWN_ITEMS)
    chosen = choose(answers, sample.get_column("targets"))
    named = retriever.bundle.items.select("item_id", pl.format("{} ({} {})", "title", "genre", "year"))
    titles = {item: escape(title) for item, title in named.iter_rows()}
    words = ("none", "one", "two")
    yield (
        f"\n{chosen.num_hits} of {sample.height} readers find their next book among {SHOWN_ITEMS} recommendations (✓). "
        f"{words[len(chosen.hits)].capitalize()} served well and {words[len(chosen.misses)]} not:"
    )
    for row in [*chosen.hits, *chosen.misses]:
        taken = sample["targets"][row].to_list()
        recommended = [
            f"[green]{titles[item]} ✓[/green]" if item in taken else titles[item]
            for item in answers.item_ids[row].to_list()
        ]
        grid = Table.grid(padding=(0, 1))
        grid.add_row("read last:", "; ".join(titles[item] for item in sample["history"][row].tail(4).to_list()))
        grid.add_row("recommended:", "; ".join(recommended))
        grid.add_row("read next:", "; ".join(titles[item] for item in taken))
        yield f"\n[bold]{sample['user_id'][row]}[/bold]"
        yield grid
