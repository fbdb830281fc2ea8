"""From a finished training to a registered version: index, sealed bundle, evaluation, report, registry."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import recsys
from recsys import files
from recsys.bundle import Bundle, Provenance, load_bundle, read_provenance, save_bundle, verify
from recsys.data import encode_lists, lookup_user_rows
from recsys.model import FeatureTable, TwoTower, encode_catalogue, encode_histories
from recsys.registry import CHALLENGER, CHAMPION, Registry, Version, check_name
from recsys.retriever import Retriever
from recsys.search import ItemIndex

from . import checkpoint
from .checkpoint import Checkpoint, Identity
from .description import TrainingDescription
from .evaluation import evaluate, geometry
from .loop import choose_device, make_loader
from .report import render_report
from .run_record import run_record
from .validation import validation_set

QUERY_SAMPLE = 2_000  # user vectors on which an approximate index is tuned and the space is measured
GOLDEN = 20


def publish(run: Path, *, registry_uri: str | None = None, say: Callable[[str], None] = print) -> Version:
    """Make ``run/bundle``, ``run/records`` and ``run/report.html``, register the bundle as challenger.

    Every step is safe to repeat: the same training gives the same bundle id, and a bundle id is registered once.
    """
    training = TrainingDescription.read(run)
    config, dataset = training.config, training.dataset
    check_name(config.registry.name)
    trained = checkpoint.load(run / "model.safetensors", Identity.of(config, dataset))
    bundle_id = seal(training, trained, run / "bundle")
    say(f"bundle {bundle_id[:12]} sealed in {run / 'bundle'}")
    if not recorded(run, bundle_id):
        retriever = Retriever(*load_bundle(run / "bundle"))
        queries = dataset.queries("test")
        with files.replacing(run / "queries_test.parquet") as temporary:
            queries.write_parquet(temporary)
        write_records(run / "records", retriever, queries, training, trained)
        with files.replacing(run / "report.html") as temporary:
            temporary.write_text(render_report(run / "records", training, retriever, trained.progress))
        files.write_json(run / "records" / "bundle.json", {"bundle_id": bundle_id})
    evaluation = files.read_json(run / "records" / "evaluation.json")
    say(summary_line(evaluation))
    store = Registry(registry_uri)
    record = run_record(run, training, trained, evaluation, parent=store.version(config.registry.name, CHAMPION))
    version = store.publish(config.registry.name, run / "bundle", bundle_id, record)
    role = challenge(store, version)
    say(f"{version.name} version {version.number} is {role} in {store.uri}")
    return version


def recorded(run: Path, bundle_id: str) -> bool:
    """Whether evaluation and report of this bundle are complete: ``records/bundle.json`` is written last."""
    path = run / "records" / "bundle.json"
    return path.exists() and files.read_json(path)["bundle_id"] == bundle_id and (run / "report.html").exists()


def challenge(store: Registry, version: Version) -> str:
    """Make a version challenger, unless it reigns or a later one challenges already; returns what it then is."""
    with store.locked(version.name):
        champion, challenger = store.version(version.name, CHAMPION), store.version(version.name, CHALLENGER)
        if champion is not None and champion.number == version.number:
            return CHAMPION
        if challenger is not None and challenger.number > version.number:
            return f"behind challenger {challenger.number}"
        if challenger != version:
            store.move(version.name, CHALLENGER, version)
    return CHALLENGER


def seal(training: TrainingDescription, trained: Checkpoint, path: Path) -> str:
    """Write the bundle of a training, or keep the one that is there; returns its id."""
    config, dataset = training.config, training.dataset
    provenance = Provenance(
        recsys=recsys.__version__,
        training=asdict(trained.identity),
        epoch=trained.progress.best_epoch,
        features=config.features.model_dump(mode="json"),
        split=config.split.model_dump(mode="json", exclude={"test"}),
        index=config.index.model_dump(mode="json"),
    )
    with suppress(ValueError):  # none there, or a damaged one
        bundle_id = verify(path)
        if read_provenance(path) == provenance:
            return bundle_id
    device = choose_device(config.training.device)
    model = TwoTower(training.recipe.model).to(device)
    model.load_state_dict(trained.group("model"))
    model.eval().requires_grad_(False)
    features = FeatureTable.from_frame(dataset.encoder.item_transforms, dataset.item_features())
    items = encode_catalogue(model, features, dataset.encoder.num_items, device)
    vectors = items.cpu().numpy()
    sample = dataset.queries("validation").head(QUERY_SAMPLE)
    history = encode_lists(dataset.encoder, sample.get_column("history"))
    known = dataset.users()
    user_features = FeatureTable.from_frame(dataset.encoder.user_transforms, known)
    rows = lookup_user_rows(sample.get_column("user_id"), known.get_column("user_id"))
    users = encode_histories(model, items, history, user_features, rows).cpu().numpy()
    index = ItemIndex.build(
        vectors, kind=config.index.kind, target_recall=config.index.target_recall, query_vectors_BD=users
    )
    bundle = Bundle(
        model, dataset.encoder, dataset.items(), dataset.item_features(), dataset.users(), dataset.item_counts,
        vectors, index, provenance,
    )  # fmt: skip
    return save_bundle(bundle, path)


def write_records(
    folder: Path, retriever: Retriever, queries: pl.DataFrame, training: TrainingDescription, trained: Checkpoint
) -> None:
    """evaluation.json, per_query.parquet, map.json and golden.json: records about the bundle, outside its seal."""
    config, dataset, recipe = training.config, training.dataset, training.recipe
    trained_on = replace(dataset, with_validation=recipe.refit)
    evaluated = evaluate.rank_queries(retriever, queries, trained_on)
    evaluation = evaluate.summarise(evaluated, retriever, dataset)
    users, targets = evaluate.user_vectors(retriever, evaluated, QUERY_SAMPLE)
    known = targets > 0
    vectors, counts = retriever.bundle.item_vectors, retriever.bundle.item_counts
    evaluation["geometry"] = asdict(geometry.measure(vectors, users[known], targets[known], counts, seed=evaluate.SEED))
    evaluation["index"] = asdict(retriever.bundle.index.spec)
    loader = make_loader(config, recipe, dataset)
    validation = validation_set(dataset, seed=config.training.seed)
    evaluation["item_parts"] = evaluate.item_parts(
        retriever.bundle.model, loader, validation, dataset.encoder.num_items
    )
    evaluation["log"], evaluation["dataset"] = dataset.manifest.log, dataset.digest
    evaluation["best_epoch"] = trained.progress.best_epoch
    files.write_json(folder / "evaluation.json", evaluation)
    files.write_json(folder / "config.json", config.model_dump(mode="json"))
    with files.replacing(folder / "trained.parquet") as temporary:
        trained_on.trained().write_parquet(temporary)
    with files.replacing(folder / "per_query.parquet") as temporary:
        evaluate.per_query(evaluated).write_parquet(temporary)
    with files.replacing(folder / "queries_test.parquet") as temporary:
        queries.write_parquet(temporary)
    positions, xy = geometry.map_2d(vectors, seed=evaluate.SEED)
    files.write_json(folder / "map.json", {"positions": positions.tolist(), "xy": np.round(xy, 3).tolist()})
    asked = queries.head(GOLDEN)
    answers = retriever.recommend(asked.get_column("history"), k=10)
    golden = {"bundle_id": retriever.bundle_id, "history": asked.get_column("history").to_list(),
              "item_ids": answers.item_ids.to_list(), "scores": answers.scores.to_list()}  # fmt: skip
    files.write_json(folder / "golden.json", golden)


def summary_line(evaluation: dict[str, Any]) -> str:
    """The headline of every method in one line."""
    headline = evaluation["headline"]
    names = (evaluate.MODEL, evaluate.POPULARITY, evaluate.ITEM_KNN)
    parts = [f"{name} {evaluation['methods'][name][headline]['mean']:.4f}" for name in names]
    return f"test {headline} over {evaluation['num_queries']:,} queries: {', '.join(parts)}"
