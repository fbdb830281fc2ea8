"""Newer items in a loaded retriever: random operations against a rebuild, and what a change costs.

    python -m benchmarks.refresh operations --kind exact --operations 10000 --seed 0
    python -m benchmarks.refresh change --items 10000 100000 1000000 --kind exact

Both use a catalogue of random weights with features of four kinds, a tenth of it cold. `change` times ten rows
(three new items, five new titles, two new genres of trained items) by the present path, and by a rebuild of everything
from the same table, which was the only path before.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

DIM, SEED, TRAINED_SHARE = 64, 0, 0.9
GENRES, TAGS, WORDS = 50, 400, 2_000
TRIALS, USERS, LONGEST = 10, 200, 30


def rows_of(ids: list[str], rng: np.random.Generator) -> pl.DataFrame:
    """Random metadata: half a dozen kinds of column, of which "stock" is no feature."""
    size = len(ids)
    word = np.array([f"word{number}" for number in range(WORDS)])
    texts = dict.fromkeys(("item_id", "title", "genre"), pl.String)
    return pl.DataFrame({
        "item_id": ids,
        "title": [" ".join(words) for words in word[rng.integers(WORDS, size=(size, 3))]],
        "genre": [f"g{genre}" for genre in rng.integers(GENRES, size=size)],
        "tags": [[f"t{tag}" for tag in tags] for tags in rng.integers(TAGS, size=(size, 2))],
        "year": rng.integers(1900, 2025, size),
        "stock": rng.integers(0, 100, size),
    }, schema_overrides=texts | {"tags": pl.List(pl.String)})  # fmt: skip


def world(num_items: int, kind: str):  # type: ignore[no-untyped-def]
    """A bundle of random weights."""
    import torch

    from recsys.bundle import Bundle, Provenance
    from recsys.config import FeatureConfig
    from recsys.data import Encoder, encode_features, fit_feature
    from recsys.model import FeatureTable, ModelSpec, TwoTower, encode_catalogue
    from recsys.search import ItemIndex

    rng, num_trained = np.random.default_rng(SEED), int(TRAINED_SHARE * num_items)
    items = rows_of([f"i{item:07}" for item in range(num_items)], rng)
    kinds = {"title": "text", "genre": "categorical", "tags": "multi_categorical", "year": "numeric"}
    transforms = tuple(fit_feature(FeatureConfig(name=name, kind=kind), items[name]) for name, kind in kinds.items())
    torch.manual_seed(SEED)
    model = TwoTower(ModelSpec(
        num_rows=num_trained + 1, item_transforms=transforms, user_transforms=(), embedding_dim=DIM, num_members=1,
        history_encoder="transformer", own_vectors=False, similarity="dot", num_layers=2, num_heads=2, max_history=200,
        dropout=0.0, id_dropout=0.0, user_dropout=0.0, temperature=1.0, learn_temperature=False,
    )).eval().requires_grad_(False)  # fmt: skip
    features = encode_features(transforms, items)
    table = FeatureTable.from_frame(transforms, features)
    vectors = encode_catalogue(model, table, num_items, torch.device("cpu")).numpy()
    columns: dict[str, str | None] = {"user_id": "user_id", "item_id": "item_id", "time": "time"}
    counts = np.arange(num_items + 1, dtype=np.int64).clip(max=1)
    counts[num_trained + 1 :] = 0
    return Bundle(
        model=model, encoder=Encoder(items["item_id"], num_trained, transforms, (), columns, "Int64"), items=items,
        item_features=features, users=pl.DataFrame({"user_id": pl.Series([], dtype=pl.Int64)}), item_counts=counts,
        item_vectors=vectors, index=ItemIndex.build(vectors, kind=kind),
        provenance=Provenance(recsys="", training={}, epoch=0, features={}, split={}, index={}),
    )  # fmt: skip


class Catalogue:
    """What the operations have made of the catalogue: rows by id, kept apart from what is tested."""

    def __init__(self, items: pl.DataFrame, rng: np.random.Generator) -> None:
        self.present = {row["item_id"]: row for row in items.iter_rows(named=True)}
        self.known = dict(self.present)  # what was removed is still known in histories, as it was last
        self.absent: list[str] = []
        self.rng, self.added, self.schema = rng, 0, items.schema

    def batch(self, size: int) -> tuple[pl.DataFrame, bool]:
        """Random operations: a table to give to ``with_items``, and whether it is the whole catalogue."""
        changed: dict[str, dict[str, object]] = {}
        removes = False
        for operation in self.rng.choice(["add", "change", "remove"], size, p=[0.4, 0.5, 0.1]):
            if operation == "remove":
                item = list(self.present)[self.rng.integers(len(self.present))]
                del self.present[item]
                changed.pop(item, None)
                self.absent.append(item)
                removes = True
                continue
            if operation == "add" and self.absent and self.rng.random() < 0.3:
                item = self.absent.pop()  # it comes back, with other metadata
            elif operation == "add":
                self.added += 1
                item = f"n{self.added:07}"
            else:
                item = list(self.present)[self.rng.integers(len(self.present))]
            row = rows_of([item], self.rng).row(0, named=True)
            if operation == "change" and self.rng.random() < 0.5:  # a column that the model does not read
                row = self.present[item] | {"stock": row["stock"]}
            self.present[item] = self.known[item] = changed[item] = row
        rows = list(self.present.values()) if removes else list(changed.values())
        return pl.DataFrame(rows, schema=self.schema), removes


def operations(kind: str, num_items: int, total: int, checkpoints: int, seed: int) -> dict[str, object]:
    """Compare with a rebuild of the bundle, with an exact index, from all rows that are left, at some checkpoints."""
    from recsys.retriever import Retriever, is_due_to_fold, with_items
    from recsys.search import FreshIndex, ItemIndex

    bundle = world(num_items, kind)
    rng = np.random.default_rng(seed)
    catalogue, live = Catalogue(bundle.items, rng), Retriever(bundle, "bench").limited(clock=time.time)
    exact = replace(bundle, index=ItemIndex.build(bundle.item_vectors, kind="exact"))
    done, folds, compared, wanted, missed, short, reordered, largest = 0, 0, 0, 0, 0, 0, 0, 0.0
    beside, seconds = [], []
    for checkpoint in range(1, checkpoints + 1):
        while done < total * checkpoint // checkpoints:
            size = min(int(rng.integers(1, 60)), total * checkpoint // checkpoints - done)
            table, complete = catalogue.batch(size)
            started = time.perf_counter()
            was = live.bundle.index
            live = with_items(live, table, complete=complete)
            seconds.append(time.perf_counter() - started)
            folds += isinstance(was, FreshIndex) and not isinstance(live.bundle.index, FreshIndex)
            assert not is_due_to_fold(live)
            beside.append(len(live.bundle.index.positions) if isinstance(live.bundle.index, FreshIndex) else 0)
            done += size
        known, present = (
            pl.DataFrame(list(rows.values()), schema=catalogue.schema) for rows in (catalogue.known, catalogue.present)
        )
        rebuilt = rebuild(exact, known, present)
        for mine, theirs in answers(live, rebuilt, rng):
            compared, wanted = compared + 1, wanted + len(theirs)
            scores, expected = dict(mine), dict(theirs)
            missed += len(expected.keys() - scores.keys())
            short += len(mine) != len(theirs)
            reordered += scores.keys() == expected.keys() and list(scores) != list(expected)
            gaps = [abs(scores[item] - expected[item]) for item in scores.keys() & expected.keys()]
            last = min(expected.values(), default=0.0)  # what an approximate index gives instead is no better
            gaps += [score - last for item, score in mine if item not in expected]
            largest = max(largest, *gaps, 0.0)
    return {
        "kind": kind, "catalogue": num_items, "operations": done, "batches": len(seconds), "checkpoints": checkpoints,
        "seed": seed, "answers": compared, "items": wanted, "missed": missed, "shorter": short,
        "other order": reordered, "largest difference of a score": largest, "folds": folds,
        "most rows beside the index": max(beside),
        "seconds a batch, median": statistics.median(seconds),
    }  # fmt: skip


def rebuild(bundle, known: pl.DataFrame, present: pl.DataFrame):  # type: ignore[no-untyped-def]
    """A retriever of the bundle with all these items, of which some are present: every vector and index is new."""
    from recsys.retriever import Retriever, with_metadata

    everything, _ = with_metadata(bundle, items=known)
    return Retriever(with_metadata(everything, items=present, complete=True)[0], "bench").limited(clock=time.time)


def answers(live, rebuilt, rng: np.random.Generator) -> Iterator[tuple[list[tuple[str, float]], ...]]:  # type: ignore[no-untyped-def]
    """Lists of (item, score) of both: plain, filtered, with exclusions, an allow-list, limits; similar items, texts."""
    from recsys.answers import Mask

    ids = rebuilt.bundle.items["item_id"]
    lengths = rng.integers(1, LONGEST, USERS)
    histories = [ids.gather(rng.choice(len(ids), length, replace=False)).to_list() for length in lengths]
    some = ids.gather(rng.choice(len(ids), min(len(ids), 500), replace=False)).to_list()
    mask = Mask(version=1, item_ids=tuple(some[:50]))
    genre, year = f"g{rng.integers(GENRES)}", int(rng.integers(1900, 2025))
    asked = [
        {"k": 20}, {"k": 100, "exclude_seen": False}, {"k": 20, "where": [("year", ">=", year)]},
        {"k": 20, "where": [("genre", "==", genre)]}, {"k": 20, "exclude": some[50:200]}, {"k": 20, "only": some},
        {"k": 10, "per": {"genre": 2}}, {"k": 10, "where": [("stock", "<", 50)]},
    ]  # fmt: skip
    for options in asked:
        for users in (histories, histories[:2]):  # many and few are searched by other code
            yield from pairs(*(one.recommend(users, **options) for one in (live, rebuilt)))
    masked = [one.limited(clock=time.time, mask=mask) for one in (live, rebuilt)]
    yield from pairs(*(one.recommend(histories, k=20) for one in masked))
    yield from pairs(*(one.similar_items(some[:50], k=10) for one in (live, rebuilt)))
    yield from pairs(*(one.search_text(["word1 word2", "word3"], k=10) for one in (live, rebuilt)))


def pairs(mine, theirs) -> Iterator[tuple[list[tuple[str, float]], ...]]:  # type: ignore[no-untyped-def]
    columns = (mine.item_ids, mine.scores, theirs.item_ids, theirs.scores)
    for items, scores, wanted, expected in zip(*(column.to_list() for column in columns), strict=True):
        yield list(zip(items, scores, strict=True)), list(zip(wanted, expected, strict=True))


def change(num_items: int, kind: str, trials: int) -> dict[str, object]:
    """Seconds of a change of ten rows, and of the first answer after it, by both paths."""
    from recsys.retriever import Retriever, with_items, with_metadata

    bundle = world(num_items, kind)
    rng = np.random.default_rng(SEED)
    live = Retriever(bundle, "bench").limited(clock=time.time)
    history = bundle.encoder.item_ids.head(20).to_list()
    live.recommend([history], k=100)
    times: dict[str, list[float]] = {name: [] for name in ("change", "first answer", "rebuild", "first answer of it")}
    first = None
    for trial in range(trials + 1):
        table = ten_rows(bundle.items, trial, rng)
        started = time.perf_counter()
        live = with_items(live, table)
        middle = time.perf_counter()
        live.recommend([history], k=100)
        ended = time.perf_counter()
        if first is None:  # it reads the features of all trained items, once
            first = middle - started
            continue
        times["change"].append(middle - started)
        times["first answer"].append(ended - middle)
        if len(times["rebuild"]) < 3:
            started = time.perf_counter()
            rebuilt = Retriever(with_metadata(bundle, items=table)[0], "bench").limited(clock=time.time)
            middle = time.perf_counter()
            rebuilt.recommend([history], k=100)
            times["rebuild"].append(middle - started)
            times["first answer of it"].append(time.perf_counter() - middle)
    medians = {f"{name}, s": round(statistics.median(values), 4) for name, values in times.items()}
    return {"items": num_items, "kind": kind, "trials": trials, "first change, s": round(first or 0.0, 3)} | medians


def ten_rows(items: pl.DataFrame, trial: int, rng: np.random.Generator) -> pl.DataFrame:
    new = rows_of([f"n{trial:05}{number}" for number in range(3)], rng)
    stocked = items[rng.choice(items.height, 5, replace=False)].with_columns(stock=pl.lit(7_000 + trial, pl.Int64))
    trained = items[rng.choice(int(TRAINED_SHARE * items.height), 2, replace=False)]
    moved = trained.with_columns(genre=pl.lit(f"g{rng.integers(GENRES)}"))
    return pl.concat([new, stocked, moved]).unique("item_id", keep="first", maintain_order=True)


def main() -> None:
    """Print a line of JSON for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["operations", "change"])
    parser.add_argument("--kind", nargs="+", default=["exact"])
    parser.add_argument("--items", type=int, nargs="+", default=[2_000])
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--checkpoints", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=TRIALS)
    options = parser.parse_args()
    if options.what == "change":
        lines = (change(size, kind, options.trials) for size in options.items for kind in options.kind)
    else:
        counts = options.operations, options.checkpoints, options.seed
        lines = (operations(kind, size, *counts) for size in options.items for kind in options.kind)
    for line in lines:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
