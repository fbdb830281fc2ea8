"""What is written to a bucket: a dataset is built once, scores go on where a killed process was, on any machine."""

import json

import pytest

from recsys import files
from recsys.actions import invoke
from recsys.actions.outputs import output, writable_folder
from recsys.buckets import BucketFolder, fetched, upload_folder
from recsys.cli import app
from recsys.data import Dataset
from serving import sources
from tests.random_logs import random_log
from training.description import TrainingDescription


@pytest.fixture
def call(capsys):
    """A function: run a command and return its exit code and what it printed as JSON."""

    def run(*arguments):
        code = invoke(app, [*map(str, arguments), "--json"])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_here_is_written_as_it_is(tmp_path):
    with output(str(tmp_path / "out")) as written:
        assert (written.location, written.folder, written.stored) == (str(tmp_path / "out"), tmp_path / "out", None)
        written.restore("claim")
        assert written.step("claim") is None
        written.folder.mkdir()
        written.upload("folder")
    assert (tmp_path / "out").is_dir()


def test_errors_name_the_address(s3):
    with pytest.raises(ValueError, match=rf"^{s3}/x/a is bad"), output(f"{s3}/x") as written:
        raise files.InputError(f"{written.folder}/a is bad")
    for location in ("here", "hdfs://x/y"):
        with pytest.raises(ValueError, match="is no address in a bucket; expected one, such as s3://shop/models/1"):
            writable_folder(location)


@pytest.fixture
def config(tmp_path, put, s3):
    """A configuration whose log is in the bucket."""
    put("log/events.parquet", random_log())
    path = tmp_path / "my.toml"
    path.write_text(f'[data]\nevents = "{s3}/log"\ntime = "timestamp"\n')
    return path


def test_a_dataset_is_built_once_whoever_asks(s3, config, call, tmp_path, monkeypatch):
    address = f"{s3}/dataset"
    code, built = call("build", "--config", config, "--out", address)
    assert (code, built["dataset"]) == (0, address)
    call("build", "--config", config, "--out", tmp_path / "here")
    assert content_of(fetched(address)) == content_of(tmp_path / "here")
    assert Dataset.open(address).address == address
    monkeypatch.setattr("features.build.build", None)
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "another machine"))
    code, again = call("build", "--config", config, "--out", address)
    assert (code, again["digest"]) == (0, built["digest"])
    assert [path.name for path in (tmp_path / "another machine").rglob("files/**/*") if path.is_file()] == [
        "manifest.json"
    ]
    code, refused = call("build", "--config", config, "--out", address, "--set", "data.min_user_events=4")
    assert code == 2
    assert f"{address} holds a dataset of other inputs or settings; choose another --out, or delete" in refused["error"]
    code, refused = call("build", "--config", config, "--out", f"{s3}/log/dataset")
    assert f"{s3}/log/dataset is inside the events at {s3}/log" in refused["error"]


def test_a_build_that_was_killed_before_it_was_whole(s3, config, call, monkeypatch):
    def killed(folder, local, names=()):
        raise files.InputError("killed")

    address, settings = f"{s3}/dataset", ("--set", "data.min_user_events=4")
    with monkeypatch.context() as patched:
        patched.setattr(BucketFolder, "finish", killed)
        assert call("build", "--config", config, "--out", address)[0] == 2
    with monkeypatch.context() as patched:
        patched.setattr("features.build._write", None)  # what was built is there
        code, built = call("build", "--config", config, "--out", address)
    assert code == 0
    with monkeypatch.context() as patched:
        patched.setattr(BucketFolder, "finish", killed)
        assert call("build", "--config", config, "--out", f"{address}2")[0] == 2
    code, other = call("build", "--config", config, "--out", f"{address}2", *settings)  # not that of before
    assert code == 0
    assert other["digest"] != built["digest"]


@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
def test_what_another_command_left_on_its_way_to_an_address_is_in_nobodys_way(s3, config, call, name):
    address = f"{s3}/dataset"
    with upload_folder(address) as folder:
        folder.mkdir()
        (folder / name).write_text("{")
    with output(address) as written:
        written.restore("state.json")
        assert not written.folder.exists()
        written.folder.mkdir()
        (written.folder / name).write_text("{")
    assert call("build", "--config", config, "--out", address)[0] == 0


def test_scores_go_on_on_another_machine(s3, small_run, put, call, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "EVENTS_PER_PARTITION", small_run.events.height // 3)
    BucketFolder(f"{s3}/model").finish(small_run.run, ["bundle"])
    put("events.parquet", small_run.events)
    command = ("score", "--bundle", f"{s3}/model/bundle", "--events", f"{s3}/events.parquet", "--k", "5", "--out")
    code, here = call(*command, tmp_path / "here")
    assert code == 0
    step = BucketFolder.add_step
    steps = []

    def killed(folder, local, names, claim):
        if len(steps) == 2:
            raise files.InputError("killed")
        steps.append(names)
        step(folder, local, names, claim)

    with monkeypatch.context() as patched:
        patched.setattr(BucketFolder, "add_step", killed)
        assert call(*command, f"{s3}/recs")[0] == 2
    assert BucketFolder(f"{s3}/recs").manifest() is None
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "another machine"))
    with monkeypatch.context() as patched:
        patched.setattr(BucketFolder, "add_step", lambda folder, local, names, claim: steps.append(names))
        code, there = call(*command, f"{s3}/recs")
    assert code == 0
    assert len(steps) == 4  # two and the two that were left
    assert len({name for names in steps for name in names}) == 3 * 4
    assert (there["totals"], there["out"]) == (here["totals"], f"{s3}/recs")
    assert content_of(fetched(f"{s3}/recs")) == content_of(tmp_path / "here")
    assert not list((tmp_path / "another machine/buckets/uploads").rglob("part-*"))
    code, refused = call(*command[:-2], "6", "--out", f"{s3}/recs")
    assert code == 2
    assert refused["error"].startswith(f"{s3}/recs holds scores of another k (5, now 6); give a new --out")


def test_what_was_published_is_read_from_the_bucket(s3, small_run, call):
    BucketFolder(f"{s3}/model").finish(small_run.run, ["bundle"])
    code, answer = call("recommend", "--bundle", f"{s3}/model/bundle", "--history", "i00001", "--k", "2")
    assert (code, answer["bundle_id"]) == (0, small_run.bundle_id)
    code, refused = call("recommend", "--bundle", f"{s3}/model", "--history", "i00001")
    assert code == 2
    assert f"no bundle at {s3}/model; expected the address of one" in refused["error"]


def test_a_training_remembers_the_address_of_its_dataset(s3, small_run, tmp_path, monkeypatch):
    BucketFolder(f"{s3}/dataset").finish(small_run.dataset.path)
    dataset = Dataset.open(f"{s3}/dataset")
    TrainingDescription.of(small_run.config, dataset).write(tmp_path)
    assert json.loads((tmp_path / "training.json").read_text())["dataset"] == f"{s3}/dataset"
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "another machine"))
    again = TrainingDescription.read(tmp_path).dataset
    assert again.path.is_relative_to(tmp_path / "another machine")
    assert (again.digest, again.address) == (small_run.dataset.digest, f"{s3}/dataset")
    with pytest.raises(ValueError, match=f"no dataset at {s3}/dataset/train; expected the address that"):
        Dataset.open(f"{s3}/dataset/train")
