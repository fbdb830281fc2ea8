"""Small data sets that several tests train on."""

import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from features.build import build
from recsys.config import parse_config
from recsys.synthetic import make_world

# Temporary files in memory, where there is enough (they take less than 1 GB): ten tests of a registry sync its file
# 3,000 times, and wait for the disk each time. PYTEST_DEBUG_TEMPROOT names another place.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_runtest_setup(item):
    """Skip what is marked gpu where torch finds none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch finds no GPU")


@pytest.fixture
def build_dataset(tmp_path):
    """A function: frames and config sections to a built (config, dataset)."""

    def make(events, *, items=None, users=None, **sections):
        data = {"time": "time"} if "time" in events.columns else {}
        for name, frame in (("events", events), ("items", items), ("users", users)):
            if frame is not None:
                data[name] = str(tmp_path / f"{name}.parquet")
                frame.write_parquet(data[name])
        config = parse_config({"data": data | sections.pop("data", {}), **sections}, "test")
        return config, build(config, tmp_path / "dataset")

    return make


@pytest.fixture
def cyclic_events():
    """A function: a log in which item i + 1 always follows item i, and item 0 the last, so the next item is known."""

    def make(num_users=120, num_items=40, seed=0):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(5, 16, num_users)
        users = np.repeat(np.arange(num_users), lengths)
        times = np.concatenate([np.arange(length) for length in lengths])
        items = (np.repeat(rng.integers(0, num_items, num_users), lengths) + times) % num_items
        return pl.DataFrame({"user_id": users, "item_id": items, "time": times})

    return make


@pytest.fixture
def small(build_dataset, cyclic_events):
    """A (config, dataset) of several shards that trains in a second."""
    from tests.small_trainings import TINY

    return build_dataset(cyclic_events(num_users=60), data={"shards": 3}, **TINY)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """A training on a small world with item and user metadata, and its bundle. Tests must not change it.

    folder: events, items and users as Parquet. run: dataset/, training, bundle/.
    """
    from training import loop, publish
    from training.checkpoints import checkpoint
    from training.description import TrainingDescription

    folder = tmp_path_factory.mktemp("small")
    world = make_world(seed=0, num_users=300, num_items=200)
    user_ids = world.events.get_column("user_id").unique().sort()
    ages = pl.Series("age", np.random.default_rng(0).integers(10, 80, len(user_ids)))
    frames = {"events": world.events, "items": world.items, "users": pl.DataFrame([user_ids, ages])}
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    item = [
        {"name": "genre", "kind": "categorical"},
        {"name": "tags", "kind": "multi_categorical"},
        {"name": "title", "kind": "text"},
        {"name": "year", "kind": "numeric"},
    ]
    config = parse_config(
        {
            "data": {"time": "timestamp"} | {name: str(folder / f"{name}.parquet") for name in frames},
            "features": {"item": item, "user": [{"name": "age", "kind": "numeric"}]},
            "model": {"embedding_dim": 16},
            "loss": {"num_negatives": 128},
            "training": {"epochs": 3, "learning_rate": 1e-2, "batch_tokens": 512, "average_decay": 0.9},
            "registry": {"name": "small"},
        },
        "test",
    )
    run = folder / "run"
    dataset = build(config, run / "dataset")
    loop.train(config, dataset, run)
    trained = checkpoint.load(run / "model.safetensors")
    bundle_id = publish.seal(TrainingDescription.read(run), trained, run / "bundle")
    return SimpleNamespace(folder=folder, run=run, config=config, dataset=dataset, bundle_id=bundle_id, **frames)


@pytest.fixture(scope="session")
def retriever(small_run):
    """The small training's bundle, which knows the users of its log; to be read only."""
    from recsys.retriever import Retriever

    return Retriever.load(small_run.run / "bundle", events=small_run.folder / "events.parquet")


@pytest.fixture(scope="session")
def baseline_bundles(small_run, tmp_path_factory):
    """The sealed bundles of the baselines on the small world, folders by name. Tests must not change them."""
    from training.evaluation import BASELINES
    from training.publish_baseline import seal_baseline

    folder = tmp_path_factory.mktemp("baselines")
    fitted = [baseline for baseline in BASELINES if baseline.fit is not None]
    for baseline in fitted:
        seal_baseline(baseline, small_run.dataset, folder / baseline.name)
    return {baseline.name: folder / baseline.name for baseline in fitted}


@pytest.fixture(scope="session")
def ray_address():
    """The address of a Ray cluster of two nodes, both of them this machine, to which this process is connected."""
    os.environ |= {"RAY_worker_niceness": "0", "RAY_enable_metrics_collection": "0"}
    from ray.cluster_utils import Cluster

    from recsys.ray_cluster import connected

    node = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(**node)
    with connected(cluster.address):
        yield cluster.address
    cluster.shutdown()


@pytest.fixture
def integer_bundle(build_dataset, cyclic_events, tmp_path):
    """A tiny bundle whose ids are Int64 and whose items have no metadata; its log is tmp_path/events.parquet."""
    from training import loop, publish
    from training.checkpoints import checkpoint

    config, dataset = build_dataset(
        cyclic_events(num_users=20), model={"embedding_dim": 8}, training={"epochs": 1}, loss={"num_negatives": 8}
    )
    loop.train(config, dataset, tmp_path / "run")
    trained = checkpoint.load(tmp_path / "run" / "model.safetensors")
    publish.seal(publish.TrainingDescription.read(tmp_path / "run"), trained, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory):
    """The file of a registry without models: MLflow takes seconds to make one."""
    from recsys.registry.store import Registry

    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    Registry(f"sqlite:///{path}").client.search_registered_models()
    return path


@pytest.fixture
def registry_uri(tmp_path, empty_registry):
    """A registry of the test's own."""
    shutil.copy(empty_registry, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture(scope="session")
def records(small_run, tmp_path_factory):
    """The records that publishing the small training writes. Tests must not change them."""
    from recsys.retriever import Retriever
    from training import publish
    from training.checkpoints import checkpoint
    from training.description import TrainingDescription

    folder = tmp_path_factory.mktemp("records")
    retriever, queries = Retriever.load(small_run.run / "bundle"), small_run.dataset.queries("test")
    trained = checkpoint.load(small_run.run / "model.safetensors")
    publish.write_records(folder, retriever, queries, TrainingDescription.read(small_run.run), trained)
    return folder


@pytest.fixture
def registrar(small_run, records, tmp_path):
    """A registry's URI to a function: publish a challenger there.

    Its item vectors are ``spoilt`` (a function of them), its baselines a multiple of the model's scores, its records
    those of the small training, but for those named in ``changed`` (a function of the frame).
    """
    from recsys import files
    from recsys.bundle import load_bundle, save_bundle
    from recsys.registry.runs import RunRecord
    from recsys.registry.store import CHALLENGER, Registry
    from recsys.search.index import ItemIndex

    bundle, _ = load_bundle(small_run.run / "bundle")

    def at(uri):
        def make(spoilt=None, *, baselines=0.0, log=None, **changed):
            store = Registry(uri)
            count = len(store.versions("small"))
            folder = tmp_path / f"records-{count}"
            shutil.copytree(records, folder)
            per_query = pl.read_parquet(folder / "per_query.parquet")
            per_query.with_columns(
                popularity=baselines * pl.col("model"), item_knn=baselines * pl.col("model")
            ).write_parquet(folder / "per_query.parquet")
            for name, change in changed.items():
                path = folder / f"{name}.parquet"
                change(pl.read_parquet(path)).write_parquet(path)
            made = bundle
            if spoilt is not None:
                vectors = spoilt(bundle.item_vectors.copy())
                made = replace(bundle, item_vectors=vectors, index=ItemIndex.build(vectors, kind="exact"))
            path = tmp_path / f"bundle-{count}"
            provenance = made.provenance.model_copy(update={"epoch": 100 + count})  # makes another bundle id
            bundle_id = save_bundle(replace(made, provenance=provenance), path)
            evaluation = files.read_json(folder / "evaluation.json") | {"bundle_id": bundle_id}
            files.write_json(folder / "evaluation.json", evaluation | ({} if log is None else {"log": log}))
            stored = [(file, "records") for file in sorted(folder.iterdir())]
            version = store.publish("small", path, bundle_id, RunRecord({}, {}, [], stored, {}, "", ("log", "d")))
            store.move("small", CHALLENGER, version)
            return version

        return make

    return at


@pytest.fixture
def killed_from(monkeypatch):
    """A context: of the calls of these methods of the registry, all from number ``step`` on are lost."""
    from recsys.registry.store import Registry

    @contextmanager
    def killed(step, *names):
        calls = []

        def until(real):
            def call(self, *arguments):
                calls.append(arguments)
                if len(calls) > step:
                    raise KeyboardInterrupt
                return real(self, *arguments)

            return call

        with monkeypatch.context() as patch:
            for name in names:
                patch.setattr(Registry, name, until(getattr(Registry, name)))
            with pytest.raises(KeyboardInterrupt):
                yield

    return killed
