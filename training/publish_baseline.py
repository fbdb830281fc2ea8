"""A baseline that serves: fitted on a training's data, sealed, evaluated and registered like a model.

It needs no training of its own: the run says which data and which split. What is written stands in a folder of its own,
so that the run's own bundle stays.
"""

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import recsys
from recsys import files
from recsys.bundle import BaselineBundle, Provenance, load_bundle, read_provenance, verify
from recsys.data import Dataset, Jagged
from recsys.errors import InputError
from recsys.progress import stage
from recsys.registry import CHAMPION, Registry, RunRecord, check_name
from recsys.retriever import Retriever

from .description import TrainingDescription
from .evaluation import (
    BASELINES,
    Baseline,
    EvaluationRecord,
    RankingTask,
    histories_to_fit,
    label,
    write_records,
)
from .promotion import BASELINE_TAG, make_challenger
from .publish import Published, recorded, summary_line
from .run_record import description, origin, quality
from .validation import queries_to_evaluate

SPARE = "item_knn"  # what serves where a baseline is not affordable
NUM_NEIGHBOURS = 2_000  # entries of a row that are sealed; fewer cost accuracy in small catalogues (docs/LOG.md)
logger = logging.getLogger(__name__)


def publish_baseline(run: Path, name: str, *, registry_uri: str | None = None) -> Published:
    """Write ``run/baseline-NAME`` with a bundle and its records, and register the bundle as challenger.

    Every step is safe to repeat: the same data give the same bundle id, and a bundle id is registered once.

    Args:
        run: the folder of a finished training.
        name: of the baseline. Where the catalogue is too large for it, item-kNN takes its place.
        registry_uri: an MLflow registry; None for the default one.

    Raises:
        InputError: ``run`` holds no finished training, there is no such baseline, or the model's name is not allowed in
            a registry.
    """
    training = TrainingDescription.read(run)
    registered = training.config.registry.name
    check_name(registered)
    trained_on = replace(training.dataset, with_validation=training.recipe.refit)
    with stage("read the training events"):
        baseline = affordable(name, trained_on)
    folder = run / f"baseline-{baseline.name}"
    with stage("seal the bundle"):
        bundle_id = seal_baseline(baseline, trained_on, folder / "bundle")
        logger.info("bundle %s sealed in %s", bundle_id[:12], folder / "bundle")
    with stage("evaluate on held-out users"):
        if not recorded(folder, bundle_id):
            retriever = Retriever(*load_bundle(folder / "bundle"))
            queries = queries_to_evaluate(training.dataset, seed=training.config.training.seed)
            write_records(folder / "records", retriever, queries, training, None)
            files.write_json(folder / "records" / "bundle.json", {"bundle_id": bundle_id})
        evaluation = EvaluationRecord.read(folder / "records")
        logger.info(summary_line(evaluation, f"{label(baseline.name)} as it serves"))
    with stage("register the version"):
        registry = Registry(registry_uri)
        tags = origin(folder / "records", training, registry.version(registered, CHAMPION))
        record = baseline_record(folder, training, evaluation, tags | {BASELINE_TAG: baseline.name})
        version = registry.publish(registered, folder / "bundle", bundle_id, record)
        role = make_challenger(registry, version)
        logger.info("%s version %d is %s in %s", registered, version.number, role, registry.uri)
    return Published(version, role, evaluation, folder)


def affordable(name: str, dataset: Dataset) -> Baseline:
    """The baseline of that name, or item-kNN where the catalogue is too large for it.

    Raises:
        InputError: no baseline has this name, or it cannot serve.
    """
    sealable = {baseline.name: baseline for baseline in BASELINES if baseline.fit is not None}
    if name not in sealable:
        *others, last = sealable
        raise InputError(f"no baseline {name!r}; expected {', '.join(others)} or {last}")
    if sealable[name].applies(fitting_task(dataset)):
        return sealable[name]
    logger.warning("%s is for smaller catalogues than %s items: %s takes its place",
                   label(name), f"{dataset.encoder.num_items:,}", label(SPARE))  # fmt: skip
    return sealable[SPARE]


def fitting_task(dataset: Dataset) -> RankingTask:
    """The training histories as a task without queries."""
    ordered = dataset.config.data.time is not None
    return RankingTask(histories_to_fit(dataset), dataset.encoder.num_items, ordered, Jagged.from_rows([]), k=1)


def seal_baseline(baseline: Baseline, dataset: Dataset, path: Path) -> str:
    """Write the bundle of a baseline, or keep the one that is there; returns its id."""
    assert baseline.fit is not None
    provenance = Provenance(
        recsys=recsys.__version__,
        training={
            "dataset": dataset.digest,
            "baseline": baseline.name,
            "with_validation": str(dataset.with_validation),
        },
        epoch=0,
        features={},
        split=dataset.config.split.model_dump(mode="json", exclude={"test"}),
        index={},
        title=dataset.config.data.title,
    )
    with suppress(ValueError):  # no bundle there, or one that is damaged or of another release
        bundle_id = verify(path)
        if read_provenance(path) == provenance:
            return bundle_id
    task = fitting_task(dataset)
    return BaselineBundle(
        model=baseline.fit(task).truncated(NUM_NEIGHBOURS),
        encoder=replace(dataset.encoder, item_transforms=(), user_transforms=()),
        items=dataset.items(),
        users=dataset.users().select("user_id"),
        item_counts=dataset.train()[1].count_codes(task.num_items + 1),
        provenance=provenance,
    ).save(path)


def baseline_record(
    folder: Path, training: TrainingDescription, evaluation: EvaluationRecord, tags: dict[str, str]
) -> RunRecord:
    """Gather what MLflow stores about a baseline."""
    bundle, _ = load_bundle(folder / "bundle")
    assert isinstance(bundle, BaselineBundle)
    return RunRecord(
        parameters={
            "baseline": bundle.model.name,
            "half_life": bundle.model.half_life,
            "entries": len(bundle.model.entries().weights),
        },
        metrics=quality(evaluation),
        learning_curve=[],
        files=[(path, "records") for path in sorted((folder / "records").iterdir())],
        tags=tags,
        description=f"The baseline {bundle.model.label}. {description(training, evaluation, tags)}",
        data=(training.config.data.events, training.dataset.digest),
    )
