"""How long does a hybrid query take: words and vectors together, without the time of an encoder?

    python -m benchmarks.hybrid_latency [--documents 100000] [--dim 128] [--words 60] [--queries 300]

Documents of random words (Zipf, 200,000 of them) and random vectors. Queries of 3, 10 and 30 words of a document, k =
10. Prints the median and the 95th percentile in milliseconds of CPU time, of one thread: the vectors alone, the words
alone, and both; and how long the index of words takes to build, its size, and bm25s's own way to score all documents.
"""

import argparse
import time
from collections.abc import Callable

import bm25s
import numpy as np
import polars as pl
import torch

from recsys.lexical import HybridIndex, LexicalIndex
from recsys.search import ItemIndex

K = 10
NUM_WORDS = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("documents", 100_000), ("dim", 128), ("words", 60), ("queries", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(1, NUM_WORDS + 1)
    drawn = rng.choice(NUM_WORDS, (arguments.documents, arguments.words), p=chances / chances.sum())
    texts = [" ".join(f"w{word}" for word in row) for row in drawn.tolist()]
    vectors = rng.normal(size=(arguments.documents + 1, arguments.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0
    started = time.perf_counter()
    lexical = LexicalIndex.build(pl.Series(texts))
    size = (lexical.offsets.nbytes + lexical.positions.nbytes + lexical.scores.nbytes) >> 20
    print(f"{arguments.documents:,} documents: words indexed in {time.perf_counter() - started:.1f} s, {size} MiB")
    index = ItemIndex.build(vectors, kind="exact")
    hybrid = HybridIndex(index, vectors, lexical, 0.5)
    peer = bm25s.BM25()
    peer.nonoccurrence_array = None
    peer.scores = {"data": lexical.scores, "indices": lexical.positions - 1, "indptr": lexical.offsets,
                   "num_docs": arguments.documents}  # fmt: skip
    chosen = rng.integers(0, arguments.documents, arguments.queries)
    users = rng.normal(size=(arguments.queries, arguments.dim)).astype(np.float32)
    for length in (3, 10, 30):
        asked = [" ".join(f"w{word}" for word in drawn[row, :length]) for row in chosen.tolist()]
        codes = [lexical.words.search_sorted(pl.Series(sorted(set(text.split())))).to_list() for text in asked]
        methods: dict[str, Callable[[int], object]] = {
            "vectors": lambda row: index.search(users[row : row + 1], K),
            "words": lambda row, asked=asked: lexical.top([asked[row]], K),
            "both": lambda row, asked=asked: hybrid.search(users[row : row + 1], [asked[row]], K),
            "bm25s, all scores": lambda row, codes=codes: peer.get_scores_from_ids(codes[row]),
        }
        for name, method in methods.items():
            median, high = np.quantile([timed(method, row) for row in range(arguments.queries)][20:], (0.5, 0.95))
            print(f"  {length:2} words  {name:18} median {median:6.2f} ms, 95th percentile {high:6.2f} ms", flush=True)


def timed(method: Callable[[int], object], row: int) -> float:
    started = time.process_time()
    method(row)
    return 1000 * (time.process_time() - started)


if __name__ == "__main__":
    main()
