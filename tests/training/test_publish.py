"""From a training to a registered version, once, whatever was killed in between."""

import logging
import shutil
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from recsys import files
from recsys.bundle import read_provenance, verify
from recsys.registry import publication
from recsys.registry.store import CHALLENGER, CHAMPION, Registry
from recsys.retriever import Retriever, with_items
from serving.batch_scoring import score
from training import publish as publishing
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.evaluation import records
from training.publish import publish
from training.refresh import refresh

RECORDS = {
    "bundle.json", "config.json", "evaluation.json", "golden.json", "map.json", "per_query.parquet", "sketch.json",
    "queries_test.parquet", "trained.parquet",
}  # fmt: skip


@pytest.fixture
def job(small_run, tmp_path, registry_uri, caplog):
    """A copy of the training without its bundle, and a function that publishes it."""
    run = tmp_path / "run"
    shutil.copytree(small_run.run, run, ignore=shutil.ignore_patterns("bundle", "dataset"))
    caplog.set_level(logging.INFO, logger="training.publish")

    def start():
        caplog.clear()
        return publish(run, registry_uri=registry_uri).version

    def lines():
        return [record.getMessage() for record in caplog.records if record.name == "training.publish"]

    return SimpleNamespace(run=run, start=start, lines=lines, store=Registry(registry_uri))


def test_publishing_twice_registers_one_version(small_run, job, monkeypatch):
    version = job.start()
    assert (version.name, version.number, version.bundle_id) == ("small", 1, small_run.bundle_id)
    assert verify(job.run / "bundle") == small_run.bundle_id
    assert {path.name for path in (job.run / "records").iterdir()} == RECORDS
    assert "small version 1" in (job.run / "report.html").read_text()
    assert job.store.version("small", CHALLENGER) == version
    assert job.lines()[0] == f"bundle {small_run.bundle_id[:12]} sealed in {job.run / 'bundle'}"
    assert job.lines()[1].startswith("test ndcg@10 over 300 queries: model 0.")
    assert job.lines()[2].startswith("small version 1 is challenger in sqlite:///")
    queries = pl.read_parquet(job.run / "queries_test.parquet")
    assert queries.columns == ["user_id", "history", "targets", "since", "until"]
    assert queries.height == queries["user_id"].n_unique() == 300

    said = job.lines()
    monkeypatch.setattr(publishing, "write_records", None)  # not called again
    assert job.start() == version
    assert job.lines() == said
    assert len(job.store.versions("small")) == 1


@pytest.mark.parametrize(
    ("device", "searched_on"), [(None, "auto"), ("cpu", "cpu"), ("auto", "auto")], ids=["as trained", "cpu", "auto"]
)
def test_vectors_are_computed_and_searched_on_the_device(small_run, job, monkeypatch, device, searched_on):
    class StopError(Exception):
        """Raised once the bundle is loaded."""

    def load(path, *, device, encoders):
        loaded_on.append(device)
        raise StopError

    chosen, loaded_on = [], []
    monkeypatch.setattr(publishing, "choose_device", lambda name: chosen.append(name) or torch.device("cpu"))
    monkeypatch.setattr(publishing, "load_bundle", load)
    with pytest.raises(StopError):
        publish(job.run, registry_uri=job.store.uri, device=device)
    assert set(chosen) == {searched_on}
    assert loaded_on == [searched_on]
    assert verify(job.run / "bundle") == small_run.bundle_id


def test_mlflow_stores_figures_records_and_provenance(small_run, job):
    version = job.start()
    client = job.store.client
    run = client.get_run(version.run_id)
    assert run.data.params["model.embedding_dim"] == "16"
    assert 0 < run.data.metrics["ndcg_at_10"] < 1
    assert len(client.get_metric_history(version.run_id, "epoch/score")) == 3
    assert run.data.metrics["system/training_seconds"] > 0
    assert version.tags["recsys.dataset"] == small_run.dataset.digest
    last = small_run.dataset.trained()["until"].max()
    assert (version.tags["recsys.trained_until"], version.tags["recsys.parent"]) == (str(last), "none")
    assert {path.path for path in client.list_artifacts(version.run_id)} == {
        "environment.txt", "model", "records", "report.html"
    }  # fmt: skip
    kept = {path.path.removeprefix("records/") for path in client.list_artifacts(version.run_id, "records")}
    assert kept == RECORDS
    assert client.get_model_version("small", "1").description.startswith("ndcg@10 0.")


def test_golden_answers_and_records_name_the_bundle(small_run, job):
    job.start()
    for name in ("golden.json", "evaluation.json", "bundle.json"):
        assert files.read_json(job.run / "records" / name)["bundle_id"] == small_run.bundle_id
    golden = files.read_json(job.run / "records" / "golden.json")
    assert len(golden["history"]) == len(golden["item_ids"]) == 20


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (publishing, "save_bundle"), (records, "summarise"),
        (publishing, "render_report"), (Registry, "publish"), (publication, "log_bundle"), (Registry, "move"),
    ],
)  # fmt: skip
def test_killed_between_steps_it_is_completed(small_run, job, monkeypatch, owner, step):
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, _killed)
        with pytest.raises(KeyboardInterrupt):
            job.start()
    version = job.start()
    assert version.bundle_id == small_run.bundle_id
    assert job.store.versions("small") == [version]
    assert job.store.version("small", CHALLENGER) == version
    assert publishing.recorded(job.run, small_run.bundle_id)
    assert not [path for path in job.run.rglob("*") if path.name.endswith(".partial")]


def _killed(*arguments, **settings):
    raise KeyboardInterrupt


def test_the_champion_does_not_become_challenger(job):
    version = job.start()
    job.store.move("small", CHAMPION, version)
    job.store.move("small", CHALLENGER, None)
    job.start()
    assert job.lines()[-1].startswith("small version 1 is champion in")
    assert job.store.version("small", CHALLENGER) is None


def test_records_of_another_bundle_are_made_anew(small_run, job):
    job.start()
    files.write_json(job.run / "records" / "bundle.json", {"bundle_id": "other"})
    assert not publishing.recorded(job.run, small_run.bundle_id)
    (job.run / "records" / "golden.json").unlink()
    job.start()
    assert publishing.recorded(job.run, small_run.bundle_id)
    assert (job.run / "records" / "golden.json").exists()


def test_without_a_finished_training_nothing_is_published(job, tmp_path):
    with pytest.raises(ValueError, match=r"no finished training at .*; expected the folder that `recsys train"):
        publish(tmp_path / "nothing")
    (job.run / "training.json").unlink()
    with pytest.raises(ValueError, match="no finished training"):
        job.start()


def test_a_bad_name_is_refused_before_any_work(job):
    description = files.read_json(job.run / "training.json")
    description["config"]["registry"]["name"] = "a/b"
    files.write_json(job.run / "training.json", description)
    with pytest.raises(ValueError, match=r"model name 'a/b' \(registry\.name"):
        job.start()
    assert not (job.run / "bundle").exists()


def test_the_column_of_titles_goes_into_the_bundle_and_is_what_people_see(small_run, tmp_path):
    training = TrainingDescription.read(small_run.run)
    data = training.config.data.model_copy(update={"title": "genre"})
    training = replace(training, config=training.config.model_copy(update={"data": data}))
    publishing.seal(training, checkpoint.load(small_run.run / "model.safetensors"), tmp_path / "bundle")
    answers = Retriever.load(tmp_path / "bundle").recommend([["i00001"]], k=3)
    frame = answers.to_frame().join(small_run.items, on="item_id")
    assert frame["title"].to_list() == frame["genre"].to_list()
    assert "title" not in read_provenance(small_run.run / "bundle").model_dump()  # where the configuration names none


def test_half_of_the_numbers_serve_alone(small_run, tmp_path):
    """A rotation is made when the bundle is: what serves is searched, scored in batch, refreshed and found again."""
    training = narrow_training(small_run, 16)
    trained = checkpoint.load(small_run.run / "model.safetensors")
    bundle_id = publishing.seal(training, trained, tmp_path / "bundle")
    assert bundle_id != small_run.bundle_id
    whole, narrow = small_run.run / "bundle", tmp_path / "bundle"
    assert "dimensions" not in read_provenance(whole).index
    assert read_provenance(narrow).index["dimensions"] == 16
    for name, share in (("vectors.npy", 0.5), ("index.faiss", 0.5), ("weights.safetensors", 1.0)):
        assert (narrow / name).stat().st_size == pytest.approx(share * (whole / name).stat().st_size, rel=0.05)

    events = str(small_run.folder / "events.parquet")
    retriever = Retriever.load(narrow, events=events)
    assert retriever.bundle.item_vectors.shape == (201, 16)
    users = small_run.events.get_column("user_id").unique().sort()
    batch = retriever.recommend(user_ids=users, k=10)
    score(retriever, tmp_path / "recs", events=events, k=10)
    written = pl.read_parquet(tmp_path / "recs" / "part-*.parquet").group_by("user_id", maintain_order=True)
    written = written.agg("item_id", "score").sort("user_id")
    assert written["item_id"].to_list() == batch.item_ids.to_list()
    assert written["score"].to_list() == batch.scores.to_list()
    for row in range(0, len(users), 60):
        assert retriever.recommend(user_ids=users[row : row + 1], k=10).item_ids[0].equals(batch.item_ids[row])
    full = Retriever.load(whole, events=events).recommend(user_ids=users, k=10)
    shared = [len(set(a) & set(b)) for a, b in zip(batch.item_ids, full.item_ids, strict=True)]
    assert 7 < sum(shared) / len(shared) < 10

    titles = small_run.items.get_column("title").head(20)
    found = retriever.search_text(titles.to_list(), k=1).item_ids.explode()
    assert (found == small_run.items.get_column("item_id").head(20)).mean() > 0.8

    today = pl.concat([small_run.items.head(1).with_columns(item_id=pl.lit("new")), small_run.items[5:6]])
    today = today.with_columns(year=pl.lit(1800, pl.Int64))
    refresh(str(narrow), today, tmp_path / "refreshed")
    refreshed = Retriever.load(tmp_path / "refreshed", events=events)
    live = with_items(retriever, today)
    assert refreshed.bundle.item_vectors.shape == live.bundle.item_vectors.shape == (202, 16)
    assert refreshed.bundle.item_vectors[201].any()
    ours, theirs = (one.recommend(user_ids=users, k=10) for one in (refreshed, live))
    assert ours.item_ids.to_list() == theirs.item_ids.to_list()


def narrow_training(small_run, dimensions):
    """The small training with as many numbers to serve."""
    training = TrainingDescription.read(small_run.run)
    index = training.config.index.model_copy(update={"dimensions": dimensions})
    return replace(training, config=training.config.model_copy(update={"index": index}))
