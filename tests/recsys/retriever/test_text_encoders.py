"""A bundle with a pretrained encoder: what runs when, who may run it, and that another encoder is refused."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from features.build import build
from recsys.bundle import load_bundle
from recsys.bundle.seal import seal
from recsys.config import parse_config
from recsys.data import Dataset
from recsys.errors import InputError
from recsys.pyfunc import _load_pyfunc
from recsys.retriever import Retriever
from tests import letter_encoder
from tests.small_trainings import TINY
from training import loop, publish
from training.checkpoints import checkpoint
from training.description import TrainingDescription

ALLOWED = {letter_encoder.NAME: letter_encoder.encode}
VECTOR = f"title ({letter_encoder.NAME})"
WORDS = ["amber", "basil", "cedar", "dune", "ember", "fjord", "grove", "heath", "inlet", "juniper"]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """A small training whose items have titles and whose users describe themselves: the bundle's folder."""
    folder = tmp_path_factory.mktemp("encoded")
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 6)
    times = np.tile(np.arange(6), 60)
    events = pl.DataFrame({"user_id": users, "item_id": (users + times) % 40, "time": times})
    titles = [f"{WORDS[n % 10]} {WORDS[n // 10]}" for n in range(40)]
    tables = {
        "events": events,
        "items": pl.DataFrame({"item_id": range(40), "title": titles}),
        "users": pl.DataFrame({"user_id": range(60), "about": rng.choice(WORDS, 60)}),
    }
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    text = {"kind": "text", "encoder": letter_encoder.NAME}
    sections = TINY | {
        "data": {"time": "time"} | {name: str(folder / f"{name}.parquet") for name in tables},
        "features": {"item": [text | {"name": "title"}], "user": [text | {"name": "about"}]},
        "training": TINY["training"] | {"epochs": 1},
    }
    config = parse_config(sections, "test")
    dataset = build(config, folder / "dataset")
    loop.train(config, dataset, folder / "run")
    trained = checkpoint.load(folder / "run" / "model.safetensors")
    publish.seal(TrainingDescription.read(folder / "run"), trained, folder / "bundle", encoders=ALLOWED)
    return folder


@pytest.fixture(scope="module")
def loaded(encoded):
    return Retriever.load(encoded / "bundle", encoders=ALLOWED)


def test_the_words_are_kept_and_the_vector_stands_beside_them(encoded):
    features = Dataset.open(encoded / "dataset").item_features()
    assert features.columns == ["title", VECTOR]
    assert features.schema["title"] == pl.List(pl.Int32)
    assert features.schema[VECTOR] == pl.Array(pl.Float32, 26)
    norms = np.linalg.norm(features.get_column(VECTOR).to_numpy(), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-6)


def test_the_bytes_of_a_dataset_do_not_depend_on_shards(encoded):
    config = Dataset.open(encoded / "dataset").config
    sharded = config.model_copy(update={"data": config.data.model_copy(update={"shards": 2})})
    build(sharded, encoded / "sharded")
    for name in ("features.arrow", "users.arrow"):
        assert (encoded / "sharded" / "catalogue" / name).read_bytes() == (
            encoded / "dataset" / "catalogue" / name
        ).read_bytes()


def test_a_dataset_of_another_encoder_is_not_used_again(encoded, monkeypatch):
    config = Dataset.open(encoded / "dataset").config
    letter_encoder.calls.clear()
    build(config, encoded / "dataset")
    assert len(set(letter_encoder.calls)) == 4  # the probes alone
    before = letter_encoder.encode
    monkeypatch.setattr(letter_encoder, "encode", lambda texts: np.roll(before(texts), 1, axis=1))
    with pytest.raises(InputError, match="gives probe sentences other vectors"):
        build(config, encoded / "dataset")


def test_users_and_texts_are_encoded_at_query_time(loaded):
    plain = loaded.recommend([[1, 2]], k=5)
    described = loaded.recommend([[1, 2]], users=pl.DataFrame({"about": ["juniper"]}), k=5)
    assert described.scores[0].to_list() != plain.scores[0].to_list()
    together = loaded.recommend([[1, 2], [3]], users=pl.DataFrame({"about": ["juniper", "basil"]}), k=5)
    assert together.scores[0].to_list() == described.scores[0].to_list()
    letter_encoder.calls.clear()
    loaded.search_text(["amber basil"], k=3)
    assert letter_encoder.calls == ["amber basil"]


def test_only_new_texts_are_encoded_when_items_are_newer(encoded):
    newer = pl.DataFrame({"item_id": [3, 40], "title": ["dune amber", "heath fjord new"]})
    letter_encoder.calls.clear()
    retriever = Retriever.load(encoded / "bundle", items=newer, encoders=ALLOWED)
    assert letter_encoder.calls[4:] == ["heath fjord new"]  # after the probes; the other title has not changed
    before = load_bundle(encoded / "bundle")[0].item_vectors
    assert np.array_equal(retriever.bundle.item_vectors[: len(before)], before)


def test_a_function_that_a_bundle_names_runs_only_if_it_is_allowed(encoded):
    letter_encoder.calls.clear()
    retriever = Retriever.load(encoded / "bundle")
    served = _load_pyfunc(str(encoded / "bundle"))
    assert len(retriever.recommend([[1, 2]], k=3).item_ids[0]) == 3  # nothing is to be encoded
    assert letter_encoder.calls == []
    newer = pl.DataFrame({"item_id": [40], "title": ["heath fjord new"]})
    for needs_it in (
        lambda: retriever.search_text(["amber"]),
        lambda: retriever.recommend([[1]], users=pl.DataFrame({"about": ["basil"]})),
        lambda: Retriever.load(encoded / "bundle", items=newer),
        lambda: served._retriever.search_text(["amber"]),
        lambda: retriever.bundle.encoder.require_encoders(),
    ):
        with pytest.raises(InputError, match="a function that nobody has allowed to run"):
            needs_it()
    assert letter_encoder.calls == []


def test_another_encoder_is_refused_when_the_bundle_is_loaded(encoded):
    with pytest.raises(InputError, match="gives probe sentences other vectors"):
        Retriever.load(encoded / "bundle", encoders={letter_encoder.NAME: letter_encoder.shifted})
    with pytest.raises(InputError, match="returns 5 numbers a text, not 26"):
        Retriever.load(encoded / "bundle", encoders={letter_encoder.NAME: letter_encoder.narrow})


def test_a_bundle_whose_encoder_does_not_fit_is_refused(encoded, tmp_path):
    for number, change in enumerate((
        lambda encoding: encoding["probes"][0].append(0.0),
        lambda encoding: encoding.update(function="os:system"),
        lambda encoding: encoding.update(probes=[]),
        lambda encoding: encoding.pop("column"),
    )):  # fmt: skip
        copy = tmp_path / str(number)
        shutil.copytree(encoded / "bundle", copy)
        fields = json.loads((copy / "encoder.json").read_text())
        change(fields["item_transforms"][1]["encoding"])
        (copy / "encoder.json").write_text(json.dumps(fields))
        (copy / "manifest.json").unlink()
        seal(copy)
        with pytest.raises(InputError, match=r"encoder\.json does not fit the bundle"):
            load_bundle(copy)


def test_what_is_bound_to_a_bundle_changes_none_of_its_bytes(encoded, loaded):
    unbound = load_bundle(encoded / "bundle")[0].encoder
    assert unbound.item_transforms == loaded.bundle.encoder.item_transforms
    assert unbound.content_hash() == loaded.bundle.encoder.content_hash()
