"""No sentence, table or chart of a page contradicts another: checked by reading the pages of small trainings."""

import html
import re
import tomllib

import numpy as np
import polars as pl
import pytest

from features.build import build
from recsys.bundle import load_bundle
from recsys.config import parse_config
from recsys.retriever import Retriever
from tests.small_trainings import TINY
from training import loop, publish
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.evaluation import FEW_QUERIES, EvaluationRecord, write_records

INTERVAL = re.compile(r"(\d\.\d{4})(?:</b>)?<small>(\d\.\d{4})–(\d\.\d{4})</small>")
ANSWER = re.compile(r"(Yes|Unclear|No): NDCG@10 ([+−][\d.]+) \[([+−][\d.]+), ([+−][\d.]+)\]\.")


class Page:
    """A page as a person reads it: HTML and plain text by section, and what was recorded."""

    def __init__(self, text, evaluation, training, progress):
        self.evaluation, self.training, self.progress = evaluation, training, progress
        body = text.split("</style>")[1]
        self.head, *sections = body.split("<section")
        self.html = {re.search("<h2>(.*?)</h2>", section)[1]: section for section in sections}
        self.sections = {heading: plain(section) for heading, section in self.html.items()}
        self.text = plain(body)
        answers = re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", self.html["Diagnosis"])
        self.answers = {plain(question): plain(answer) for question, answer in answers}

    def fact(self, name):
        return plain(re.search(f"<dt>{name}</dt><dd>(.*?)</dd>", self.head)[1])


def plain(text):
    without_charts = re.sub("<svg.*?</svg>", " ", text, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]*>", " ", without_charts))).replace(" ?", "?").strip()


@pytest.fixture(scope="module", params=[(1, 1), (2, 2), (6, 150)], ids=["1 epoch", "2 epochs", "6 epochs"])
def page(request, tmp_path_factory):
    """The page of a training of some epochs on some users, with items that are cold and metadata."""
    (epochs, num_users), folder = request.param, tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(epochs)
    items = (np.repeat(rng.integers(0, 40, num_users), 12) + np.tile(np.arange(12), num_users)) % 40
    events = {
        "user_id": np.repeat(np.arange(num_users), 12),
        "item_id": items,
        "time": np.tile(np.arange(12), num_users),
    }
    pl.DataFrame(events).write_parquet(folder / "events.parquet")
    genres = [f"genre {item % 3}\x08" for item in range(45)]
    pl.DataFrame({"item_id": range(45), "genre": genres}).write_parquet(folder / "items.parquet")
    data = {"events": str(folder / "events.parquet"), "items": str(folder / "items.parquet"), "time": "time"}
    training = TINY["training"] | {"epochs": epochs}
    features = {"item": [{"name": "genre", "kind": "categorical"}]}
    config = parse_config({"data": data, **TINY, "training": training, "features": features}, "test")
    dataset = build(config, folder / "dataset")
    loop.train(config, dataset, folder)
    trained, described = checkpoint.load(folder / "model.safetensors"), TrainingDescription.read(folder)
    publish.seal(described, trained, folder / "bundle")
    retriever = Retriever(*load_bundle(folder / "bundle"))
    write_records(folder / "records", retriever, dataset.queries("test"), described, trained)
    text = publish.write_page(folder / "records", described, retriever, trained)
    return Page(text, EvaluationRecord.read(folder / "records"), described, trained.progress)


def test_epochs_and_durations_agree(page):
    epochs, best = len(page.progress.epochs), page.progress.best_epoch
    training, diagnosis = page.sections["Training"], page.sections["Diagnosis"]
    counted = f"{epochs} epoch{'s' if epochs > 1 else ''}"
    duration = page.fact("Trained").removesuffix(f", {counted}")
    assert page.fact("Trained") == f"{duration}, {counted}"
    assert f"{counted} took {duration} without validation" in training
    assert f"Epoch {best} (green) is what serves." in training
    assert page.evaluation.best_epoch == best
    assert page.answers["Was it trained long enough?"] in training
    for mentioned, of in re.findall(r"best in epoch (\d+) of (\d+)", page.text):
        assert (int(mentioned), int(of)) == (best, epochs)
    curve = page.html["Training"].split("<h3>Validation NDCG@10</h3>")[1].split("<h3>")[0]
    shown = dict(re.findall(r"<title>epoch (\d+): ([\d.]+)</title>", curve))
    assert shown == {str(result.epoch): f"{result.score:.3f}" for result in page.progress.epochs}
    assert ("Nothing stands out" in diagnosis) <= ("training.epochs" not in page.text)


def test_counts_are_those_of_the_dataset(page):
    statistics, encoder = page.training.dataset.manifest.statistics, page.training.dataset.encoder
    assert re.findall(r"\d[\d,]*(?= )", page.fact("Data")) == [
        f"{count:,}" for count in (statistics.users, encoder.num_items, statistics.training_events)
    ]
    data = page.sections["Data"]
    assert f"test queries {page.evaluation.num_queries:,} " in f"{data} "
    assert f"items in the catalogue {encoder.num_items:,} " in data
    assert (
        f"cold items: in the catalogue without a training event {encoder.num_items - encoder.num_trained} "
        in data + " "
    )
    queries = f"{page.evaluation.num_queries:,} held-out quer"
    assert queries in plain(page.head)


def test_every_interval_holds_its_mean(page):
    found = INTERVAL.findall("".join(page.html.values()))
    assert len(found) > 20
    for mean, low, high in found:
        assert float(low) <= float(mean) <= float(high)


def test_verdict_answers_table_and_cards_agree(page):
    answers = [ANSWER.fullmatch(text).groups() for question, text in page.answers.items() if "better than" in question]
    assert len(answers) == len(page.evaluation.differences)
    for word, mean, low, high in answers:
        mean, low, high = (float(figure.replace("−", "-")) for figure in (mean, low, high))
        assert low <= mean <= high
        assert word == ("Yes" if low > 0 else "No" if high < 0 else "Unclear")
    words = {word for word, *_ in answers}
    headline = re.search(r'class="verdict \w+"><b>(.*?):', page.head)[1]
    assert headline == ("Not good yet" if "No" in words else "Undecided" if "Unclear" in words else "Good")
    model = page.evaluation.methods["model"]
    shown = f"{model['ndcg@10'].mean:.4f}"
    assert f"<b>{shown}</b><span>NDCG@10</span>" in page.head
    comparison = page.html["Is it better than simple methods?"]
    assert comparison.count(f"this model, NDCG@10 {shown} ") >= 2
    assert f"this model {shown} " in page.sections["Is it better than simple methods?"]
    assert f"{model['recall@100'].mean:.1%} Recall@100" in plain(page.head)
    for name, entry in (("this model", "model"), ("popularity", "popularity")):
        coverage = f"{page.evaluation.exposure[entry].coverage_at_10:.1%}"
        assert f"{name} {coverage}" in page.sections["Popularity bias"]
        if entry == "model":
            assert f"{coverage} Coverage@10" in plain(page.head)


def test_slices_and_what_is_said_of_them_agree(page):
    answer = page.answers["Is it ahead everywhere?"]
    judged = [entry for entry in page.evaluation.slices if entry.num_queries >= FEW_QUERIES]
    lead = [
        entry.methods["model"].mean - max(entry.methods[name].mean for name in page.evaluation.differences)
        for entry in judged
    ]
    if not judged:
        assert answer == "Cannot be told: no slice has 100 queries."
    elif min(lead) > 0:
        assert answer.startswith("Yes")
    else:
        assert answer.startswith(("Nowhere", "Behind"))
    for entry in page.evaluation.slices:
        assert f"{entry.name} {entry.num_queries:,}" in page.sections["Where is it good, and where not?"]


def test_one_is_singular_and_nothing_is_not_a_number(page):
    words = "epochs|queries|users|items|events|rows|minutes|hours|slices|dimensions|are|were|have"
    sentences = plain(re.sub("<table.*?</table>", "", page.head + "".join(page.html.values()), flags=re.S))
    assert not re.findall(rf"(?<![\d.,])1 (?:[a-z-]+ )?(?:{words})\b", sentences)
    assert not re.findall(r"\bnan\b|\binf(?:inity)?\b|\bNone\b", page.text)


def test_the_space_is_described_by_its_figures(page):
    if "the geometry" in page.evaluation.left_out:
        assert "Cannot be told: the geometry was left out" in page.sections["Diagnosis"]
        assert "Left out:" in page.sections["Geometry of the space"]
        return
    rank, model, encoder = (
        page.evaluation.space.effective_rank,
        page.training.recipe.model,
        page.training.dataset.encoder,
    )
    assert f"effective rank {rank:.0f} of {min(model.width, encoder.num_items)}," in page.sections["Diagnosis"]
    assert f"effective rank {rank:.1f} dimensions" in page.sections["Geometry of the space"]
    assert ("No, it has collapsed" in page.text) == ("The space has collapsed" in page.text)


def test_the_settings_shown_are_those_used(page):
    shown = html.unescape(re.search("<pre>(.*?)</pre>", page.html["Configuration and versions"], re.S)[1])
    assert parse_config(tomllib.loads(shown), "page") == page.training.config
    assert f"# num_members = {page.training.recipe.model.num_members}  (chosen for the data)" in shown
