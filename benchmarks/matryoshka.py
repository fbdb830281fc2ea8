"""Fewer dimensions: what does it cost to serve half of the numbers of every vector, and what does it save?

    python benchmarks/matryoshka.py RUN [RUN ...] [--shares 2 4] [--queries 3000]

RUN is the folder of a finished training. Its vectors are cut to V / 2, V / 4 ... numbers in three ways: the first ones
of each member as they are; the first ones of each member after a rotation of its own; and after one rotation of all
members together, which is what ``index.dimensions`` does. The last is a bundle that is sealed, loaded and asked, so
that histories consist of cut vectors, too; the others are given whole histories. Prints NDCG@10 on validation and test,
the change in percent with a 95% bootstrap interval over queries, megabytes of vectors and index, and the CPU time of a
search.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from recsys import metrics
from recsys.data import encode_lists
from recsys.model import principal_directions
from recsys.retriever import Retriever
from recsys.search import ItemIndex
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.publish import seal

SEED, K = 0, 10
PARTS = ("validation", "test")


class Queries:
    """The queries of one part of a data set, in the positions of a catalogue."""

    def __init__(self, training: TrainingDescription, retriever: Retriever, part: str, most: int) -> None:
        frame = training.dataset.queries(part)  # type: ignore[arg-type]
        frame = frame.sample(most, seed=SEED) if frame.height > most else frame
        self.history, self.targets = (
            encode_lists(retriever.bundle.encoder, frame.get_column(name)) for name in ("history", "targets")
        )
        self.users = retriever.user_rows(frame.get_column("user_id"))

    def ndcg(self, positions: np.ndarray) -> metrics.Float64:
        """NDCG@10 of every query."""
        return metrics.ndcg(metrics.hits(positions, self.targets), metrics.count_targets(self.targets), K)


def cut(retriever: Retriever, num_members: int, dimensions: int, *, rotated: bool) -> torch.Tensor:
    """A basis, [V, dimensions], of an equal share of each member's numbers, rotated or as they are."""
    items = torch.from_numpy(retriever.bundle.item_vectors[1:])
    share, width = dimensions // num_members, items.shape[1] // num_members
    blocks = [
        principal_directions(part, share) if rotated else torch.eye(width, share, dtype=torch.float64)
        for part in items.split(width, dim=1)
    ]
    return torch.block_diag(*blocks)


def changes(whole: metrics.Float64, narrow: metrics.Float64) -> str:
    """The change in percent of the mean, with its interval."""
    interval = metrics.bootstrap_mean(narrow - whole, seed=SEED)
    mean, low, high = (100 * value / whole.mean() for value in (interval.mean, interval.low, interval.high))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def seconds_of_search(retriever: Retriever, queries: Queries) -> float:
    """CPU time of one query alone, the encoder's left out."""
    vectors = retriever.encode(queries.history.take(np.arange(200)), queries.users[:200])
    times = []
    for row in range(len(vectors)):
        started = time.process_time()
        retriever.bundle.index.search(vectors[row : row + 1], 100)  # type: ignore[union-attr]
        times.append(time.process_time() - started)
    return float(np.median(times))


def report(run: Path, shares: list[int], most: int, folder: Path) -> Iterator[dict[str, object]]:
    """A row for each way and width."""
    training, trained = TrainingDescription.read(run), checkpoint.load(run / "model.safetensors")

    def served(dimensions: int | None) -> tuple[Retriever, float]:
        index = training.config.index.model_copy(update={"dimensions": dimensions})
        path = folder / f"{run.name}-{dimensions}"
        seal(replace(training, config=training.config.model_copy(update={"index": index})), trained, path)
        size = sum((path / name).stat().st_size for name in ("vectors.npy", "index.faiss"))
        return Retriever.load(path), size / 1e6

    whole, size = served(None)
    spec = training.recipe.model
    queries = {part: Queries(training, whole, part, most) for part in PARTS}
    full = {part: one.ndcg(whole.rank(one.history, one.users, k=K).positions) for part, one in queries.items()}
    yield {"way": "whole", "numbers": spec.width} | {part: f"{full[part].mean():.4f}" for part in PARTS} | {
        "MB": f"{size:.2f}", "search, ms": f"{1e3 * seconds_of_search(whole, queries['test']):.2f}"}  # fmt: skip
    users = {part: torch.from_numpy(whole.encode(one.history, one.users)) for part, one in queries.items()}
    for dimensions in (spec.width // share for share in shares):
        for way in ("as they are", "a rotation a member"):
            basis = cut(whole, spec.num_members, dimensions, rotated=way != "as they are").float()
            items = np.ascontiguousarray((torch.from_numpy(whole.bundle.item_vectors) @ basis).numpy())
            index = ItemIndex.build(items, kind="exact")
            found = {
                part: one.ndcg(index.search((users[part] @ basis).numpy(), K, excluded=one.history)[0])
                for part, one in queries.items()
            }
            yield {"way": way, "numbers": dimensions} | {part: changes(full[part], found[part]) for part in PARTS}
        narrow, size = served(dimensions)
        found = {part: one.ndcg(narrow.rank(one.history, one.users, k=K).positions) for part, one in queries.items()}
        yield (
            {"way": "one rotation (served)", "numbers": dimensions}
            | {part: changes(full[part], found[part]) for part in PARTS}
            | {"MB": f"{size:.2f}", "search, ms": f"{1e3 * seconds_of_search(narrow, queries['test']):.2f}"}
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--shares", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--queries", type=int, default=3000)
    arguments = parser.parse_args()
    pl.Config.set_tbl_formatting("ASCII_MARKDOWN").set_tbl_rows(-1).set_tbl_hide_dataframe_shape().set_fmt_str_lengths(
        40
    )
    pl.Config.set_tbl_hide_column_data_types().set_tbl_width_chars(160)
    with tempfile.TemporaryDirectory() as folder:
        for run in arguments.runs:
            print(f"\n{run}", flush=True)
            print(pl.DataFrame(list(report(run, arguments.shares, arguments.queries, Path(folder)))), flush=True)


if __name__ == "__main__":
    main()
