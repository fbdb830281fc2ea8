import tomllib

import polars as pl

from recsys.config import parse_config
from recsys.data import BuildStatistics, LogCounts
from training.description import TrainingDescription
from training.report import data_and_config


def test_the_settings_are_toml_that_gives_the_same_configuration(build_dataset, cyclic_events):
    items = pl.DataFrame({"item_id": range(40), "shelf": ["é" if item % 2 else 'the "b"' for item in range(40)]})
    features = {"item": [{"name": "shelf", "kind": "categorical"}]}
    gate = {"must_beat": []}
    config, dataset = build_dataset(cyclic_events(), items=items, features=features, model={"dropout": 0.25}, gate=gate)
    text = data_and_config.as_toml(TrainingDescription.of(config, dataset))
    assert parse_config(tomllib.loads(text), "report") == config
    assert "dropout = 0.25" in text
    assert "must_beat = []" in text
    assert "# user_id = false  (chosen for the data)" in text
    assert '# history_encoder = "transformer"  (chosen for the data)' in text


def test_quarantine_in_words():
    log = LogCounts(rows=2000, events=799, quarantined={"no time": 1200, "duplicate": 1})
    assert data_and_config.quarantine(log) == (
        "1,201 are in quarantine.parquet: 1 repeats of an earlier row, 1,200 without a time"
    )
    assert data_and_config.quarantine(LogCounts(rows=9, events=9)) == "none had to be quarantined"


def test_the_summary_covers_a_separate_test_file_and_equal_times():
    counts = dict.fromkeys(("users", "trained_items", "training_events", "validation_queries", "test_queries"), 5)
    counts |= {"rows": 10, "events": 9, "quarantined: no time": 1, "equal_times": 4, "items": 8}
    counts |= {"missing: items <year>": 2, "users_with_few_events": 6, "test rows": 3, "test events": 3}
    summary = data_and_config.data_summary(BuildStatistics.from_json(counts))
    assert "The test file has 3 rows, 3 kept; none had to be quarantined." in summary
    assert "4 events have the same time as their user" in summary
    for name, number in (
        ("cold items: in the catalogue without a training event", 3),
        ("missing: items &lt;year&gt;", 2),
        ("users with too few events to be a query", 6),
    ):
        assert f'<td class="word">{name}</td><td class="figure">{number}</td>' in summary
    assert "repeated" not in summary


def test_the_version_of_the_first_installed_package():
    assert data_and_config.version("no-such-package", "polars") == f"{pl.__version__} (polars)"
    assert data_and_config.version("no-such-package") == "not installed"
