"""Versions that can follow one another, for races.py and kill9.py: a small training under many labels."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from features.build import build
from recsys import demo, files
from recsys.bundle import load_bundle, save_bundle
from recsys.config import load_config
from recsys.registry import Registry, RunRecord, Version
from recsys.retriever import Retriever
from recsys.synthetic import make_world
from training import loop, publish
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.promotion import make_challenger

# equals follow one another, on a busy machine
LENIENT = ("gate.required_gain=-0.5", "gate.latency_ms=100000", "gate.coverage_share=0", "gate.index_recall=0")


def prepare(folder: Path) -> None:
    """Train a little; leaves ``bundle`` and ``records``, with baselines that anybody beats."""
    folder.mkdir(parents=True)
    world = make_world(seed=0, num_users=300, num_items=200)
    world.events.write_parquet(folder / "events.parquet")
    world.items.write_parquet(folder / "items.parquet")
    (folder / "demo.toml").write_text(demo.CONFIG)
    config = load_config(folder / "demo.toml", ("training.epochs=1",))
    dataset = build(config, folder / "dataset")
    loop.train(config, dataset, folder)
    trained, description = checkpoint.load(folder / "model.safetensors"), TrainingDescription.read(folder)
    publish.seal(description, trained, folder / "bundle")
    retriever = Retriever(*load_bundle(folder / "bundle"))
    publish.write_records(folder / "records", retriever, dataset.queries("test"), description, trained)
    path = folder / "records" / "per_query.parquet"
    pl.read_parquet(path).with_columns(popularity=0.0, item_knn=0.0).write_parquet(path)


def challenge(uri: str, name: str, prepared: Path, label: str, out: Path) -> Version:
    """Register a bundle of this label, written to ``out``, and make it challenger."""
    bundle, _ = load_bundle(prepared / "bundle")
    provenance = bundle.provenance.model_copy(update={"recsys": f"{name} {label}"})  # makes another bundle id
    bundle_id = save_bundle(replace(bundle, provenance=provenance), out)
    records = [(path, "records") for path in sorted((prepared / "records").iterdir()) if path.name != "evaluation.json"]
    evaluation = out.with_name(f"{out.name}-records") / "evaluation.json"  # the gate takes no records of another bundle
    files.write_json(evaluation, files.read_json(prepared / "records" / evaluation.name) | {"bundle_id": bundle_id})
    records.append((evaluation, "records"))
    store = Registry(uri)
    record = RunRecord({"label": label}, {"figure": 1.0}, [{"loss": 1.0}], records, {}, label, ("log", "digest"))
    version = store.publish(name, out, bundle_id, record)
    make_challenger(store, version)
    return version
