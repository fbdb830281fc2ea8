"""Search by text in a shop that has titles and clicks: an item is found by its title, by some of its words, by a slip.

Run it with ``OMP_WAIT_POLICY=PASSIVE python examples/search.py [FOLDER]``. It takes a minute or two and leaves
everything in FOLDER, or in ``search``. The shop is the demo's made-up library. The model is trained on what people
read; nothing is trained for the search.
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # where comparison.py is, however this file is run

import polars as pl
from comparison import lexical, print_table, run

from recsys.synthetic import make_world
from recsys.text_evaluation import evaluate_retrieval

CONFIG = """\
[data]
events = "events.parquet"
time = "timestamp"
items = "items.parquet"

[[features.item]]
name = "genre"
kind = "categorical"

[[features.item]]
name = "title"
kind = "text"

[training]
epochs = 4
learning_rate = 1e-2

[registry]
name = "search"
"""
NUM_QUERIES = 500
Asked = dict[str, list[str]]


def make_queries(titles: Sequence[str], seed: int = 1) -> Asked:
    """Whole titles, two words of each, and the same with a letter of the longer one missing."""
    rng = random.Random(seed)
    words = [rng.sample(title.split(), min(2, len(title.split()))) for title in titles]
    slips = [
        " ".join(without_a_letter(word, rng) if word == max(two, key=len) else word for word in two) for two in words
    ]
    return {"the title": list(titles), "two of its words": [" ".join(two) for two in words], "one misspelt": slips}


def without_a_letter(word: str, rng: random.Random) -> str:
    """The word with a slip."""
    place = rng.randrange(len(word))
    return word[:place] + word[place + 1 :]


def main(folder: Path) -> None:
    """Train on clicks, and look for items by their titles."""
    folder.mkdir(parents=True, exist_ok=True)
    world = make_world(seed=0, num_users=2_000, num_items=1_000)
    world.events.write_parquet(folder / "events.parquet")
    world.items.write_parquet(folder / "items.parquet")
    (folder / "config.toml").write_text(CONFIG)
    retriever = run(folder).retriever

    ids, titles = world.items["item_id"].to_list(), world.items["title"]
    rows = random.Random(0).sample(range(len(ids)), NUM_QUERIES)
    same = world.items.group_by("title").agg("item_id")  # two books may have one title
    of_title = dict(same.rows())
    wanted = [of_title[titles[row]] for row in rows]
    for kind, asked in make_queries(titles.gather(rows).to_list()).items():
        queries = {f"query{number}": text for number, text in enumerate(asked)}
        relevant = dict(zip(queries, wanted, strict=True))
        methods = {
            "our model": evaluate_retrieval(retriever, queries, relevant),
            "BM25": lexical(queries, dict(zip(ids, titles, strict=True)), relevant),
        }
        print_table(f"Books found by {kind}, such as {asked[0]!r}", methods)
    with pl.Config(tbl_hide_dataframe_shape=True):
        print(retriever.search_text(["starship"], k=3).to_frame())


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["search"]))
