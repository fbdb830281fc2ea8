"""Search by text: does an item's own title find it, and do three random words of it?

    python -m benchmarks.text_search DIR... [--column title] [--queries 2000] [--seed 1]

DIR: the folder of a finished run, `recsys run --out DIR`, or DIR/run of `recsys demo --out DIR`. --column: the item
column with the title. Prints the share of items that are found first, and among the first ten, by the whole title, by
three random words of it, and by three words of which one is misspelt. Beside them: BM25 (bm25s with its defaults) over
the same column, and both opinions that the search weighs, alone. Of items with one title, any counts.

The words are drawn anew, with another seed than the one by which publishing chose the weights.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bm25s
import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.bundle import Bundle, TextWeights, load_bundle
from recsys.rankers import TwoTowerRanker
from training.text_search import random_words

K = 10
Search = Callable[[list[str]], npt.NDArray[np.integer]]  # texts to [Q, K] rows of items, -1 pads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--column", default="title")
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for run in arguments.runs:
        bundle, _ = load_bundle(run / "bundle")
        assert isinstance(bundle, Bundle)
        measure(run, bundle, arguments.column, arguments.queries, arguments.seed)


def measure(run: Path, bundle: Bundle, column: str, count: int, seed: int) -> None:
    titles = bundle.items.get_column(column).fill_null("")
    same = titles.to_frame("title").with_columns(group=pl.col("title").rank("dense"))["group"].to_numpy()
    rows, words = random_words(titles, count, seed=seed)
    exact, misspelt = np.arange(len(rows)) % 2 == 0, np.arange(len(rows)) % 2 == 1
    asked = {"own title": (rows, titles.gather(rows).to_list())}
    for name, chosen in (("three words", exact), ("one misspelt", misspelt)):
        asked[name] = (rows[chosen], [words[query] for query in np.flatnonzero(chosen)])
    print(f"{run}: {len(titles):,} items, {bundle.text_weights}")
    for name, search in searches(bundle, titles).items():
        parts, started = [], time.perf_counter()
        for kind, (wanted, texts) in asked.items():
            hit = same[search(texts)] == same[wanted][:, None]
            parts.append(f"{kind} {hit[:, 0].mean():.3f} / {hit.any(axis=1).mean():.3f}")
        print(f"  {name:24} {'  '.join(parts)}  ({time.perf_counter() - started:.1f} s)", flush=True)


def searches(bundle: Bundle, titles: pl.Series) -> dict[str, Search]:
    """Methods by name; the first is what serves."""
    lexical = bm25s.BM25()
    lexical.index(bm25s.tokenize(titles.to_list(), show_progress=False), show_progress=False)

    def by_bm25(texts: list[str]) -> npt.NDArray[np.integer]:
        tokens = bm25s.tokenize(texts, show_progress=False)
        return np.asarray(lexical.retrieve(tokens, k=K, show_progress=False)[0])

    def by_weights(weights: TextWeights | None) -> Search:
        ranker = TwoTowerRanker(replace(bundle, text_weights=weights))
        return lambda texts: ranker.closest_to_texts(texts, (), k=K, allowed=None).positions.astype(np.int64) - 1

    return {
        "search_text": by_weights(bundle.text_weights),
        "texts alone": by_weights(TextWeights(clicks=0.0)),
        "clicks alone": by_weights(TextWeights(clicks=1.0)),
        "BM25": by_bm25,
    }


if __name__ == "__main__":
    main()
