"""The promise of k under random requests: nothing seen, nothing ineligible, nothing short without a reason.

Each request mixes conditions, an allow-list, exclusions, limits per value and diversity, under a mask that changes.
What an answer must hold is worked out from the items' table by NumPy alone. Then, for filters that leave 1, .1, .01
and .001 of a catalogue, recall beside brute force and milliseconds a request.

    python -m benchmarks.eligible --bundle demo/run/bundle --events demo/events.parquet --requests 1000000 --seed 0
"""

import argparse
import time
from collections import Counter
from functools import partial

import numpy as np
import polars as pl

from recsys.answers import Mask
from recsys.data import Jagged
from recsys.retriever import Query, Retriever

BATCH, OPTIONS = 256, 8  # requests that are asked together, and how many kinds of them
SHARES = (1.0, 0.1, 0.01, 0.001)
MOMENTS = 100.0  # seconds during which items come and go


class Catalogue:
    """The items' columns as arrays, and which items pass random conditions."""

    def __init__(self, items: pl.DataFrame) -> None:
        self.ids = items["item_id"].to_numpy()
        self.row_of = {item_id: row for row, item_id in enumerate(self.ids)}
        self.year, self.genre = items["year"].to_numpy(), items["genre"].to_numpy()
        self.titles = items["title"].to_list()
        self.first, self.last = items["available_from"].to_numpy(), items["available_until"].to_numpy()
        self.tags = [set(tags) for tags in items["tags"].to_list()]
        self.all_tags = sorted(set().union(*self.tags))

    def condition(self, rng: np.random.Generator) -> tuple[object, np.ndarray]:
        """A random condition, and which items pass it."""
        kind = rng.integers(6)
        if kind == 0:
            year = int(rng.choice(self.year))
            return ("year", ">=", year), self.year >= year
        if kind == 1:
            genre = str(rng.choice(self.genre))
            return ("genre", "==", genre), self.genre == genre
        if kind == 2:
            genres = [str(genre) for genre in rng.choice(self.genre, 3)]
            return ("genre", "in", genres), np.isin(self.genre, genres)
        if kind == 3:
            word = str(rng.choice(str(rng.choice(self.titles)).split()))
            return ("title", "contains", word), np.array([word in title for title in self.titles])
        if kind == 4:
            start = str(rng.choice(self.titles))[: rng.integers(1, 6)]
            return ("title", "starts_with", start), np.array([title.startswith(start) for title in self.titles])
        tag = str(rng.choice(self.all_tags))
        return ("tags", "contains", tag), np.array([tag in tags for tags in self.tags])

    def tree(self, rng: np.random.Generator, depth: int = 0) -> tuple[object, np.ndarray]:
        """A random tree of conditions, and which items pass it."""
        word = rng.choice(["one", "and", "or", "not"]) if depth < 3 else "one"
        if word == "one":
            return self.condition(rng)
        if word == "not":
            tree, passed = self.tree(rng, depth + 1)
            return {"not": tree}, ~passed
        parts = [self.tree(rng, depth + 1) for _ in range(rng.integers(1, 4))]
        masks = np.array([passed for _, passed in parts])
        return {word: [tree for tree, _ in parts]}, masks.all(0) if word == "and" else masks.any(0)


def random_options(catalogue: Catalogue, rng: np.random.Generator) -> tuple[dict, np.ndarray]:
    """Random options of a request, and which items they leave."""
    options: dict = {"k": int(rng.choice([1, 5, 10, 50]))}
    eligible = np.ones(len(catalogue.ids), bool)
    if rng.random() < 0.7:
        options["where"], passed = catalogue.tree(rng)
        options["where"] = [options["where"]]
        eligible &= passed
    if rng.random() < 0.2:
        rows = rng.choice(len(catalogue.ids), rng.integers(0, 60), replace=False)
        options["only"] = [*catalogue.ids[rows].tolist(), "unknown"]
        eligible &= np.isin(np.arange(len(catalogue.ids)), rows)
    if rng.random() < 0.3:
        rows = rng.choice(len(catalogue.ids), rng.integers(1, 200), replace=False)
        options["exclude"] = catalogue.ids[rows].tolist()
        eligible[rows] = False
    if rng.random() < 0.25:
        options["per"] = {"genre": int(rng.integers(1, 4))} | (
            {"tags": int(rng.integers(1, 6))} if rng.random() < 0.5 else {}
        )
    if rng.random() < 0.15:
        options["diversity"] = 0.3
    options["exclude_seen"] = bool(rng.random() < 0.85)
    return options, eligible


def violations(catalogue: Catalogue, query: Query, eligible: np.ndarray, items: list, reason: str | None) -> list[str]:
    """What is wrong with an answer."""
    wrong, rows = [], [catalogue.row_of[item] for item in items]
    seen = set(query.history or ()) if query.exclude_seen else set()
    wrong += ["seen"] * bool(seen & set(items))
    wrong += ["twice"] * (len(set(items)) < len(items))
    wrong += ["ineligible"] * (not eligible[rows].all())
    count = {column: Counter() for column in query.per or {}}
    for row in rows:
        for column in count:
            count[column].update(catalogue.tags[row] if column == "tags" else [catalogue.genre[row]])
    wrong += ["over a limit"] * any(
        max(count[column].values(), default=0) > most for column, most in (query.per or {}).items()
    )
    if len(items) < query.k:
        wrong += ["short without a reason"] * (reason is None or "short" not in reason)
        left = eligible.copy()
        left[[catalogue.row_of[item] for item in seen if item in catalogue.row_of]] = False
        left[rows] = False
        for row in np.flatnonzero(left):  # none of these may fit
            fits = all(
                count[column][value] < most
                for column, most in (query.per or {}).items()
                for value in (catalogue.tags[row] if column == "tags" else [catalogue.genre[row]])
            )
            if fits:
                wrong.append("short, although more items are eligible")
                break
    return wrong


def random_requests(retriever: Retriever, histories: list[list[str]], num_requests: int, seed: int) -> Counter:
    """Ask many requests; what was wrong, by kind."""
    rng, catalogue, found, done = np.random.default_rng(seed), Catalogue(retriever.bundle.items), Counter(), 0
    num_fallback = 0
    started = time.perf_counter()
    while done < num_requests:
        masked = rng.choice(len(catalogue.ids), rng.integers(0, 100), replace=False)
        now = float(rng.uniform(0, MOMENTS))
        there = ~(now < catalogue.first) & ~(now >= catalogue.last)  # NaN is no limit
        mask = Mask(version=done, item_ids=tuple(catalogue.ids[masked].tolist()))
        limited = retriever.limited(clock=partial(float, now), mask=mask)
        kinds = [random_options(catalogue, rng) for _ in range(OPTIONS)]
        for _, eligible in kinds:
            eligible[masked] = False
            eligible &= there
        asked = []
        for number in range(BATCH):
            history = histories[rng.integers(len(histories))]
            history = history[max(0, len(history) - int(rng.integers(0, 60))) :]  # empty for some: the fallback
            asked.append((Query(history=history, **kinds[number % OPTIONS][0]), kinds[number % OPTIONS][1]))
        answers = limited.answer([query for query, _ in asked])
        lists = zip(asked, answers.item_ids.to_list(), answers.reasons.to_list(), strict=True)
        for (query, eligible), items, reason in lists:
            found.update(violations(catalogue, query, eligible, items, reason))
            num_fallback += not query.history
        done += BATCH
        if done % (BATCH * 200) == 0:
            print(
                f"{done:,} requests, {done / (time.perf_counter() - started):,.0f}/s, {dict(found) or 'no violation'}",
                flush=True,
            )
    print(f"{done:,} requests with seed {seed}, {num_fallback:,} by fallback: {dict(found) or 'no violation'}")
    return found


def selectivity(retriever: Retriever, histories: list[list[str]], seed: int) -> None:
    """Recall@100 beside brute force, and the time of a request, by the share of the catalogue that is eligible."""
    rng, ids = np.random.default_rng(seed), retriever.bundle.encoder.item_ids
    print("share  eligible  recall@100  ms a request (p50)")
    for share in SHARES:
        only = ids.gather(rng.choice(len(ids), max(1, round(share * len(ids))), replace=False)).to_list()
        recalls, seconds = [], []
        for history in histories[:200]:
            started = time.perf_counter()
            answer = retriever.answer([Query(history=history, k=100, only=None if share == 1 else only)]).item_ids[0]
            seconds.append(time.perf_counter() - started)
            positions = retriever.bundle.encoder.positions(pl.Series(history))
            user = retriever.encode(Jagged.from_rows([positions]), np.zeros(1, np.int64))[0].astype(np.float64)
            scores = retriever.bundle.item_vectors.astype(np.float64) @ user
            allowed = np.zeros(len(scores), bool)
            allowed[retriever.bundle.encoder.positions(pl.Series(only))] = True
            allowed[positions] = False
            scores[~allowed] = -np.inf
            best = np.argsort(-scores, kind="stable")[: min(100, int(allowed.sum()))]
            answered = set(retriever.bundle.encoder.positions(answer))
            recalls.append(len(answered & set(best)) / len(best) if len(best) else float(not answered))
        print(f"{share:5g}  {len(only):8,}  {np.mean(recalls):10.4f}  {1e3 * np.median(seconds):.2f}")


def with_times(arguments: argparse.Namespace) -> Retriever:
    """The bundle with items of which half come and a third go while requests are asked."""
    rng, items = np.random.default_rng(arguments.seed), Retriever.load(arguments.bundle).bundle.items
    times = {"available_from": 1 / 2, "available_until": 1 / 3}
    drawn = {
        name: np.where(rng.random(items.height) < share, rng.uniform(0, MOMENTS, items.height), np.nan)
        for name, share in times.items()
    }
    return Retriever.load(arguments.bundle, items=items.with_columns(**{n: pl.Series(v) for n, v in drawn.items()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--events", required=True)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    retriever = Retriever.load(arguments.bundle)
    log = pl.read_parquet(arguments.events).sort("timestamp", maintain_order=True)
    histories = log.group_by("user_id", maintain_order=True).agg("item_id")["item_id"].to_list()
    selectivity(retriever, histories, arguments.seed)
    found = random_requests(with_times(arguments), histories, arguments.requests, arguments.seed)
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
