import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.build import build
from recsys.bundle import load_bundle
from recsys.config import parse_config
from recsys.metrics import Interval
from recsys.retriever import Retriever
from recsys.search.faiss_index import IndexSpec
from training import checkpoint, loop, publish
from training.description import TrainingDescription
from training.evaluation.record import EvaluationFigures
from training.report import diagnosis, render

TITLE = '<script>alert("1")</script> & Sons'


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small training with odd titles, some rows in quarantine, and its records: the arguments of ``render``."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(60), 8), (np.repeat(rng.integers(0, 30, 60), 8) + np.tile(np.arange(8), 60)) % 30
    events = pl.DataFrame({"user_id": users, "item_id": items, "time": np.tile(np.arange(8), 60)})
    lost = events.head(3).with_columns(item_id=None)
    pl.concat([events, lost, events.head(2)]).write_parquet(folder / "events.parquet")
    genres = [["<b>odd</b>"] if item % 2 else ["even", "other"] for item in range(30)]
    titles = [TITLE] + [f"title {item}" for item in range(1, 29)] + [None]
    pl.DataFrame({"item_id": range(30), "title": titles, "genres": genres}).write_parquet(folder / "items.parquet")
    data = {"events": str(folder / "events.parquet"), "items": str(folder / "items.parquet"), "time": "time"}
    features = {"item": [{"name": "genres", "kind": "multi_categorical"}]}
    sections = {"model": {"embedding_dim": 8}, "training": {"epochs": 1}, "registry": {"name": "books & co"}}
    config = parse_config({"data": data, "features": features, **sections}, "test")
    dataset = build(config, folder / "dataset")
    (folder / "run").mkdir()
    loop.train(config, dataset, folder / "run")
    best = checkpoint.load(folder / "run" / "model.safetensors")
    description = TrainingDescription.read(folder / "run")
    publish.seal(description, best, folder / "bundle")
    retriever = Retriever(*load_bundle(folder / "bundle"))
    (folder / "records").mkdir()
    publish.write_records(folder / "records", retriever, dataset.queries("test"), description, best)
    return folder / "records", description, retriever, best.progress


@pytest.fixture(scope="module")
def page(trained):
    return render.render_report(*trained)


def test_the_page_holds_every_section_in_order(page):
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Diagnosis", "Is it better than simple methods?", "Where is it good, and where not?", "Training",
        "Geometry of the space", "Index", "Popularity bias", "A few users", "Data", "Configuration and versions",
    ]  # fmt: skip
    sections = page.split("<section")[1:]
    charts = [section.count("<svg") for section in sections]
    assert charts == [0, 1, 1, 3, 1, 0, 1, 0, 0, 0]
    assert page.index('class="verdict') < page.index("<section")


def test_the_page_loads_nothing(page):
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\((?!#)|https?:|\ssrc=|xlink", page)


def test_the_same_inputs_give_the_same_bytes(trained, page):
    assert render.render_report(*trained) == page


def test_texts_of_the_data_are_escaped(page):
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; Sons" in page  # a title on the map
    assert "&lt;b&gt;odd&lt;/b&gt;" in page
    assert "<b>odd" not in page
    assert "<h1>books &amp; co</h1>" in page


def test_data_and_settings_are_told(trained, page):
    assert "485 rows were read and 480 kept as events" in page
    assert "5 are in quarantine.parquet: 2 repeats of an earlier row, 3 without an item id" in page
    assert "embedding_dim = 8" in page
    assert "# dropout = 0.5  (chosen for the data)" in page
    assert trained[2].bundle_id in page
    assert trained[1].dataset.digest in page


def test_a_refit_is_told(trained):
    _, description, _, progress = trained
    found = description.recipe
    told = render.training(progress, replace(found, refit=False))
    assert "were kept (green)" in told
    assert "once more" not in told
    told = render.training(progress, replace(found, refit=True))
    assert f"trained once more, for {progress.best_epoch} epochs, on training and validation events together" in told
    assert "were kept (green)" not in told


def evaluation(**differences):
    """model, then per baseline (mean, low, high) of the difference and the baseline's own mean."""
    return EvaluationFigures(
        bundle_id="b", num_queries=6040, headline="ndcg@10", exposure={}, slices=(),
        methods={name: {"ndcg@10": Interval(figures[3], 0, 1)} for name, figures in differences.items()},
        differences={name: Interval(*figures[:3]) for name, figures in differences.items()},
    )  # fmt: skip


def test_a_model_above_every_baseline_is_good():
    found = diagnosis.verdict(evaluation(item_knn=(0.05, 0.04, 0.06, 0.125), popularity=(0.1, 0.09, 0.11, 0.075)))
    assert (found.tone, found.word) == ("good", "Good")
    assert found.sentence == (
        "beats item-kNN, the strongest baseline, by 40% in NDCG@10 on 6,040 held-out queries "
        "(95% interval of the difference +0.0400 to +0.0600, above zero)."
    )


def test_a_model_below_one_baseline_is_not_good():
    found = diagnosis.verdict(evaluation(item_knn=(-0.05, -0.06, -0.04, 0.1), popularity=(0.1, 0.09, 0.11, 0.05)))
    assert found.tone == "bad"
    assert found.sentence.startswith("behind item-kNN, the strongest baseline, by 50% in NDCG@10")
    assert "−0.0600 to −0.0400, below zero" in found.sentence


def test_an_interval_that_holds_zero_is_undecided_whichever_baseline_has_it():
    found = diagnosis.verdict(evaluation(item_knn=(0.01, 0.005, 0.02, 0.1), popularity=(0.02, -0.01, 0.05, 0.0)))
    assert found.tone == "unclear"
    assert found.sentence.startswith("ahead of popularity by 0.0200 in NDCG@10")  # no share of a baseline at zero
    behind = diagnosis.verdict(evaluation(item_knn=(-0.01, -0.02, 0.005, 0.1)))
    assert behind.sentence.startswith("behind item-kNN by 10%")


def test_shares_by_tenth_of_the_items():
    counts = np.array([99, *range(20, 0, -1)])  # position 0 never counts
    shown = np.zeros(21, np.int64)
    shown[[1, 20]] = 3, 1
    assert render.by_decile(shown, counts) == [0.75, *[0.0] * 8, 0.25]
    assert render.by_decile(counts, counts)[0] == pytest.approx(39 / 210)
    assert render.by_decile(np.zeros(21, np.int64), counts) == [0.0] * 10


def test_an_approximate_index_says_whether_it_reached_its_target():
    spec = IndexSpec("hnsw", recall=0.97, target_recall=0.95, m=32)
    assert "target 0.95, reached" in render.index(spec, 10**6)
    assert "num lists" not in render.index(spec, 10**6)
    assert "NOT reached" in render.index(replace(spec, recall=0.9), 10**6)
