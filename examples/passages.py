"""Questions find the passages of this repository's documentation that answer them.

Run it with ``OMP_WAIT_POLICY=PASSIVE python examples/passages.py [FOLDER]``. It takes a minute or two and leaves
everything in FOLDER, or in ``passages``. The documents are cut as by ``recsys init docs --chunk``. Their headings are
trained to find what they stand above; the questions below are asked of the passages with their headings. They were
written for this example: no training and no setting has seen them.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # where comparison.py is, however this file is run

import polars as pl
from comparison import Pairs, alone, compare, print_table, run

from recsys import Retriever
from recsys.actions import init
from recsys.text_evaluation import evaluate_retrieval

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "docs", ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
QUESTIONS = {  # and a piece of each passage that answers it
    "undo a release and let the old model answer again": ["makes the previous champion, or another version, champion"],
    "nothing passes the exam in a shop with a hundred customers": ["more than a young service has"],
    "sold out products should vanish until they are back": [
        "small file of items that nobody gets",
        "`PUT /v1/mask` wri",
    ],
    "protect the web service with a secret": ["Without a key, everybody who reaches the port may ask"],
    "what happens if the job of tonight crashes halfway?": ["It can be killed at any moment and started again"],
    "do not show five books of the same genre": ["`per` limits how many items of an answer share a value"],
    "products that nobody has bought yet": ["a new item is placed by its metadata", "can only be recommended after"],
    "is 3/4 in March or in April?": ["both day first and month first are never guessed"],
    "the prices in my spreadsheet are written with commas": ["**Numbers** with a decimal comma, such as"],
    "the log is too big for the memory of my computer": ["the feature job splits the users into as many parts as"],
    "train on more than one graphics card": ["Each process takes the GPU whose number is its own (`LOCAL_RANK`)"],
    "why did this person get that book?": ["A contribution is what the score would lose without"],
    "run it in docker": ["Without `TORCH`, pip takes PyTorch's CUDA build (several GB). What follows"],
    "I need another comparison in conditions": ["a line in `OPERATORS`. Lists, trees, HTTP"],
    "the web server forks and then hangs": ["leave `preload_app` off, or load in `post_fork`"],
    "answer several people in one go": ["takes requests of any kind, encodes all users together"],
    "make suggestions less alike": ["chooses items by maximal marginal relevance"],
    "keep what was asked in order to play it again": ["Each minute a whole Parquet file appears there"],
    "how likely is it that a bad version is let through?": ["is a one-sided test at 2.5%"],
    "stop selling an article after Christmas": ["The item columns `available_from` and `available_until` say"],
    "how long may a function be?": ["functions up to 50 lines, files up to 300"],
    "read the film ratings of the university of Minnesota": ["the folder of 100k, 1M, 10M, 20M, 25M, 32M or latest"],
}


def main(folder: Path) -> None:
    """Cut the documents, train on their headings, and ask."""
    config = folder / "config.toml"
    if not config.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(*init(DOCUMENTS, config, None, None, None, chunk=True).lines(), sep="\n")
    trained = run(folder)
    tables = {name: pl.read_parquet(folder / f"docs-training-{name}.parquet") for name in ("users", "items", "events")}
    answers = dict(tables["events"].group_by("user_id").agg("item_id").rows())
    headings = Pairs(texts_of(tables["users"], "user_id"), texts_of(tables["items"], "item_id"), answers)
    title = f"What stands below {len(trained.held_out)} headings, among {tables['items'].height} passages without them"
    print_table(title, compare(headings, trained))

    items = pl.read_parquet(folder / "docs-items.parquet")
    retriever = Retriever.load(folder / "run" / "bundle", items=items)
    questions = {text: text for text in QUESTIONS}
    wanted = {text: answering(pieces, items) for text, pieces in QUESTIONS.items()}
    methods = {"our model": evaluate_retrieval(retriever, questions, wanted)}
    title = f"Passages for {len(QUESTIONS)} questions, among {items.height} passages with their headings"
    print_table(title, methods | alone(questions, texts_of(items, "item_id"), wanted))
    for passage in retriever.passages("sold out products should vanish until they are back", k=3):
        print(f"{passage.score:.2f}  {passage.source}  {passage.heading}")


def texts_of(table: pl.DataFrame, name: str) -> Mapping[str, str]:
    """The texts of a table by id."""
    return dict(table.select(name, "text").rows())


def answering(pieces: list[str], items: pl.DataFrame) -> list[str]:
    """The passages that hold one of these pieces."""
    text = pl.col("text").str.replace_all(r"\s+", " ")
    return items.filter(pl.any_horizontal(text.str.contains(piece, literal=True) for piece in pieces))[
        "item_id"
    ].to_list()


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["passages"]))
