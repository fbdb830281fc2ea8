"""Pairs alone are tested in test_pairs.py."""

import polars as pl
import pytest

from features.build import build
from features.starter_config import suggest_for_passages
from recsys.config import load_config


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs").mkdir()
    sections = "".join(f"## Part {number}\nTurn screw {number} and take it out.\n" for number in range(80))
    (tmp_path / "docs" / "repair.md").write_text(f"# Repair\n{sections}")
    return tmp_path / "docs"


def written(suggested, out):
    out.write_text(suggested.toml)
    for name, table in suggested.tables.items():
        table.write_parquet(out.parent / name)
    return load_config(out)


def test_headings_are_trained_where_there_are_no_questions(folder, tmp_path):
    out = tmp_path / "docs.toml"
    suggested = suggest_for_passages([folder], out)
    assert suggested.found[0] == "documents: 1 files, cut into 80 passages"
    assert set(suggested.tables) == {"docs-items.parquet"} | {
        f"docs-training-{role}.parquet" for role in ("events", "items", "users")
    }
    searched, trained = (suggested.tables[f"docs-{name}.parquet"]["text"][7] for name in ("items", "training-items"))
    assert (searched, trained) == (f"Repair > Part 7\n\n{trained}", "Turn screw 7 and take it out.")
    assert '"docs-items.parquet").passages(QUESTION)' in suggested.toml
    config = written(suggested, out)
    assert (config.registry.name, config.split.kind) == ("docs", "users")
    assert build(config, tmp_path / "dataset").manifest.statistics.test_queries > 0


def test_questions_are_trained_where_there_are_any(folder, tmp_path):
    pl.DataFrame({
        "question": [f"how do i mend number {number}" for number in range(90)],
        "answer": [f"Turn screw {number} and take it out." for number in range(90)],
    }).write_csv(tmp_path / "questions.csv")  # fmt: skip
    suggested = suggest_for_passages([folder, tmp_path / "questions.csv"], tmp_path / "docs.toml")
    assert suggested.found[1:3] == [
        "  question: question, answered by: answer (by their names)",
        "  80 of 90 questions have an answer in the passages",
    ]
    assert set(suggested.tables) == {f"docs-{role}.parquet" for role in ("events", "items", "users")}
    assert suggested.tables["docs-events.parquet"].height == 80
    assert suggested.tables["docs-items.parquet"]["text"][0].startswith("Repair > Part 0\n\n")
    config = written(suggested, tmp_path / "docs.toml")
    assert (config.data.min_user_events, config.model.history_encoder) == (1, None)


def test_several_answers_to_a_query_are_no_history(folder, tmp_path):
    pl.DataFrame({"question": ["one of all?"], "answer": ["docs/repair.md"]}).write_csv(tmp_path / "questions.csv")
    suggested = suggest_for_passages([folder, tmp_path / "questions.csv"], tmp_path / "docs.toml")
    assert written(suggested, tmp_path / "docs.toml").model.history_encoder == "none"


def test_other_files_are_refused(folder, tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("user_id,n\na,1\nb,2\n")
    with pytest.raises(ValueError, match=r"a\.csv: found no pairs; expected a column of questions"):
        suggest_for_passages([folder, tmp_path / "a.csv"], tmp_path / "docs.toml")
    with pytest.raises(ValueError, match=r"b\.csv: expected documents .* and at most one file of questions"):
        suggest_for_passages([folder, tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "docs.toml")
