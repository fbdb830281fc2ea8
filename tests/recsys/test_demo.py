"""What a newcomer is shown."""

import io
import re

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from recsys import demo
from recsys.answers import Recommendations
from recsys.config import load_config
from recsys.retriever import Retriever
from recsys.synthetic import make_world
from training.evaluation import per_query, rank_queries


@pytest.fixture(scope="module")
def shown(small_run, tmp_path_factory):
    """The demo's screen for the small run, whose world is the same as a smaller demo's."""
    run = tmp_path_factory.mktemp("demo")
    (run / "bundle").symlink_to(small_run.run / "bundle")
    queries = small_run.dataset.queries("test")
    queries.write_parquet(run / "queries_test.parquet")
    scores = {"popularity": 0.05, "item-kNN": 0.2, "our model": 0.3}
    screen = io.StringIO()
    demo.show(run, scores, Console(file=screen, width=110), world=make_world(seed=0, num_users=300, num_items=200))
    return screen.getvalue()


def test_one_table_that_a_newcomer_understands(shown):
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in shown.splitlines() if line.startswith("│")
    ]
    assert [row[0] for row in rows] == ["popularity", "item-kNN", "our model", "best possible"]
    values = [float(row[1]) for row in rows]
    assert rows[-1][2] == "100%"
    for row, value in zip(rows, values, strict=True):
        assert abs(float(row[2].rstrip("%")) / 100 - value / values[-1]) < 0.006
    assert "300 readers" in shown


def test_readers_are_shown_by_title_with_their_hits_marked(shown, small_run):
    _, *boxes = re.split(r"\n(?=u\d+\n)", shown[shown.index("served well") :])
    assert len(boxes) == demo.SHOWN_HITS + demo.SHOWN_MISSES
    assert [box.count("✓") > 0 for box in boxes] == [True] * demo.SHOWN_HITS + [False] * demo.SHOWN_MISSES
    assert "None" not in shown
    flat = " ".join(shown.split())
    assert sum(title in flat for title in small_run.items["title"].to_list()) >= 15
    for box in boxes:
        recommended, read_next = " ".join(box.split()).split(" recommended: ")[1].split(" read next: ")
        assert (f"{read_next} ✓" in recommended) == ("✓" in box)


def test_the_choice_of_readers_is_said(shown):
    said = re.search(
        r"(\d+) of 200 readers find their next book among 5 recommendations \(✓\)\.", " ".join(shown.split())
    )
    assert said is not None
    assert 0 < int(said[1]) < 200
    assert "Two served well and one not:" in " ".join(shown.split())


def test_the_first_readers_with_a_hit_and_the_first_without_are_chosen():
    item_ids = pl.Series([["a"], ["b"], ["c"], ["d"], ["e"]])
    answers = Recommendations(item_ids, pl.Series([[0.0]] * 5), pl.Series([None] * 5), "bundle")
    chosen = demo.choose(answers, pl.Series([["x"], ["b"], ["y"], ["d"], ["e"]]))
    assert (chosen.hits, chosen.misses, chosen.num_hits) == ([1, 3], [0], 3)
    nobody = demo.choose(answers, pl.Series([["x"]] * 5))
    assert (nobody.hits, nobody.misses, nobody.num_hits) == ([], [0], 0)


def test_no_method_beats_the_best_possible(small_run):
    world = make_world(seed=0, num_users=300, num_items=200)
    retriever, queries = Retriever.load(small_run.run / "bundle"), small_run.dataset.queries("test")
    best = demo.best_possible(world, queries, retriever)
    evaluated = rank_queries(retriever, queries, small_run.dataset)
    figures = per_query(evaluated)
    assert 0.2 < best < 1
    assert all(figures[name].mean() < best for name in figures.columns[1:])


def test_the_world_is_written_once(tmp_path):
    config = demo.write_world(tmp_path / "demo")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").iterdir()}
    assert {path.name for path in before} == {"demo.toml", "events.parquet", "items.parquet"}
    assert demo.write_world(tmp_path / "demo") == config
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").iterdir()}
    loaded = load_config(config)
    assert loaded.registry.name == demo.NAME
    assert {feature.name for feature in loaded.features.item} <= set(
        pl.read_parquet_schema(tmp_path / "demo" / "items.parquet")
    )
    config.unlink()  # killed before it was written: made again, the same
    content = (tmp_path / "demo" / "events.parquet").read_bytes()
    demo.write_world(tmp_path / "demo")
    assert (tmp_path / "demo" / "events.parquet").read_bytes() == content
    assert np.all([path.exists() for path in before])
