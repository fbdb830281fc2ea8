"""From a finished training to a registered version: index, sealed bundle, evaluation, report, registry."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import recsys
from recsys import files
from recsys.bundle import Bundle, Provenance, load_bundle, read_provenance, save_bundle, verify
from recsys.data import Dataset, encode_lists, joined_texts, lookup_user_rows
from recsys.lexical import LexicalIndex
from recsys.model import FeatureTable, TwoTower, encode_catalogue, encode_histories, narrowed
from recsys.plain_text import counted
from recsys.progress import stage
from recsys.registry import CHAMPION, Registry, Version, check_name
from recsys.retriever import Retriever
from recsys.search import ItemIndex, choose_device
from recsys.text_encoders import EncodeTexts, encoder_functions

from .checkpoints import Checkpoint, Identity, checkpoint
from .cold_items import give_share
from .description import TrainingDescription
from .evaluation import FIGURES, MODEL, EvaluationRecord, LeftOut, label, write_records
from .promotion import make_challenger
from .report import bare_page, render_report, with_version
from .run_record import run_record
from .text_search import choose_text_weights
from .validation import ValidationSet, queries_to_evaluate

QUERY_SAMPLE = 2_000  # user vectors on which an approximate index is tuned
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A registered bundle.

    role: "challenger", "champion" or "behind challenger NUMBER". folder: where bundle/ and records/ are.
    """

    version: Version
    role: str
    evaluation: EvaluationRecord
    folder: Path


def publish(
    run: Path, *, registry_uri: str | None = None, device: str | None = None,
    encoders: Mapping[str, EncodeTexts] | None = None,
) -> Published:  # fmt: skip
    """Write ``run/bundle``, ``run/records`` and ``run/report.html``, and register the bundle as challenger.

    Every step is safe to repeat: the same training gives the same bundle id, and a bundle id is registered once.

    Args:
        run: the folder of a finished training.
        registry_uri: an MLflow registry; None for the default one.
        device: where vectors are computed and searched: "cpu", "cuda" or "auto"; None: as ``training.device`` says.
        encoders: as for ``load_bundle``.

    Raises:
        InputError: there is no such device or no finished training, or no registry allows the model's name.
    """
    if device is not None:
        choose_device(device)  # now, rather than after the bundle is sealed
    training = TrainingDescription.read(run)
    check_name(name := training.config.registry.name)
    trained, validated = read_weights(run, training)
    with stage("seal the bundle"):
        bundle_id = seal(training, trained, run / "bundle", device, encoders, validated)
        logger.info("bundle %s sealed in %s", bundle_id[:12], run / "bundle")
    is_done = recorded(run, bundle_id) and (run / "report.html").exists()
    retriever = None if is_done else _retriever(run / "bundle", device or training.config.training.device, encoders)
    with stage("evaluate on held-out users"):
        if retriever is not None:
            queries = queries_to_evaluate(training.dataset, seed=training.config.training.seed)
            with files.replacing(run / "queries_test.parquet") as temporary:
                queries.write_parquet(temporary)
            write_records(run / "records", retriever, queries, training, trained)
        evaluation = EvaluationRecord.read(run / "records")
        logger.info(summary_line(evaluation))
    with stage("write the report"):
        if retriever is not None:
            _replace(run / "report.html", write_page(run / "records", training, retriever, trained))
            files.write_json(run / "records" / "bundle.json", {"bundle_id": bundle_id})
    with stage("register the version"):
        registry = Registry(registry_uri)
        record = run_record(run, training, trained, evaluation, parent=registry.version(name, CHAMPION))
        version = registry.publish(name, run / "bundle", bundle_id, record)
        role = make_challenger(registry, version)
        page = with_version((run / "report.html").read_text(encoding="utf-8"), name, version.number)
        _replace(run / "report.html", page)
        registry.log_file(version, run / "report.html", "")
        logger.info("%s version %d is %s in %s", name, version.number, role, registry.uri)
    return Published(version, role, evaluation, run)


def read_weights(run: Path, training: TrainingDescription) -> tuple[Checkpoint, Checkpoint | None]:
    """What a training has written: the weights that serve and, of pairs of texts, those before their refit."""
    identity, before_refit = Identity.of(training.config, training.dataset), run / checkpoint.VALIDATED
    validated = checkpoint.load(before_refit, identity) if before_refit.exists() else None
    return checkpoint.load(run / checkpoint.WEIGHTS, identity), validated


def _replace(path: Path, page: str) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _retriever(bundle: Path, device: str, encoders: Mapping[str, EncodeTexts] | None) -> Retriever:
    """The bundle's. A GPU that training.device asks for need not be one that FAISS can search on."""
    return Retriever(*load_bundle(bundle, device="cpu" if device == "cpu" else "auto", encoders=encoders))


def write_page(records: Path, training: TrainingDescription, retriever: Retriever, trained: Checkpoint) -> str:
    """The report, or a page that says why there is none."""
    left_out = LeftOut()
    page = left_out.attempt(
        "the report", lambda: render_report(records, training, retriever, trained.progress, datetime.now(UTC))
    )
    if page is None:
        page = bare_page(training.config.registry.name, retriever.bundle_id, left_out.reasons["the report"])
    return page


def recorded(run: Path, bundle_id: str) -> bool:
    """Whether the records of this bundle are complete: ``records/bundle.json`` is written last."""
    path = run / "records" / "bundle.json"
    with files.input_error_if_damaged(path):
        return path.exists() and bool(files.read_json(path)["bundle_id"] == bundle_id)


def seal(
    training: TrainingDescription, trained: Checkpoint, path: Path, device_name: str | None = None,
    encoders: Mapping[str, EncodeTexts] | None = None, validated: Checkpoint | None = None,
) -> str:  # fmt: skip
    """Write the bundle of a training, or keep the one that is there; returns its id.

    validated: of a refit, the weights before it: those after it have learned the validation queries, and cannot tell
    how words should be weighed. Other arguments: as for ``publish``.
    """
    config, dataset = training.config, training.dataset
    provenance = Provenance(
        recsys=recsys.__version__,
        training=asdict(trained.identity),
        epoch=trained.progress.best_epoch,
        features=config.features.model_dump(mode="json"),
        split=config.split.model_dump(mode="json", exclude={"test"}),
        index=config.index.model_dump(mode="json", exclude_none=True),
        title=config.data.title,
    )
    with suppress(ValueError):  # no bundle there, or one that is damaged or of another release
        bundle_id = verify(path)
        if read_provenance(path) == provenance:
            return bundle_id
    device = choose_device(device_name or config.training.device)
    bundle = _unsealed(training, trained, provenance, device, encoders)
    seed = config.training.seed
    if validated is None:
        bundle = searchable(bundle, dataset, seed=seed)
    else:
        weighed = searchable(_unsealed(training, validated, provenance, device, encoders), dataset, seed=seed)
        bundle = replace(bundle, lexical=weighed.lexical, text_weights=weighed.text_weights)
    return save_bundle(bundle, path)


def _unsealed(
    training: TrainingDescription, trained: Checkpoint, provenance: Provenance, device: torch.device,
    encoders: Mapping[str, EncodeTexts] | None,
) -> Bundle:  # fmt: skip
    """The bundle of some weights, in memory, without words."""
    config, dataset = training.config, training.dataset
    with torch.device("meta"):  # the tables exist once, as those that were read
        model = TwoTower(training.recipe.model)
    model.load_state_dict(trained.group("model"), assign=True)
    model.to(device).eval().requires_grad_(False)
    model, items, users = encoded(training, model, device)
    vectors = items.cpu().numpy()
    index = ItemIndex.build(
        vectors,
        kind=config.index.kind_or_memory,
        target_recall=config.index.target_recall,
        query_vectors_BD=users.cpu().numpy(),
    )
    return Bundle(
        model, dataset.encoder.with_functions(encoder_functions(encoders)), dataset.items(), dataset.item_features(),
        dataset.users(), dataset.item_counts, vectors, index, provenance, user_texts=dataset.user_texts(),
    )  # fmt: skip


def encoded(training: TrainingDescription, model: TwoTower, device: torch.device) -> tuple[TwoTower, Tensor, Tensor]:
    """The model that serves, the catalogue's vectors, and those of QUERY_SAMPLE users of validation queries."""
    dataset, dimensions = training.dataset, training.config.index.dimensions
    known, num_queries = dataset.users(), dataset.num_queries("validation")
    sample = dataset.queries("validation", np.arange(min(QUERY_SAMPLE, num_queries)))
    queries = ValidationSet(
        encode_lists(dataset.encoder, sample.get_column("history")),
        encode_lists(dataset.encoder, sample.get_column("targets")),
        lookup_user_rows(sample.get_column("user_id"), known.get_column("user_id")),
    )
    features = FeatureTable.from_frame(dataset.encoder.item_transforms, dataset.item_features())
    user_features = FeatureTable.of_users(model.spec, known)

    def encode() -> tuple[Tensor, Tensor]:
        items = encode_catalogue(model, features, dataset.encoder.num_items, device)
        return items, encode_histories(model, items, queries.history, user_features, queries.user_rows)

    items, users = give_share(model, encode, queries, dataset.targets("validation"))
    if dimensions is None:
        return model, items, users
    narrow, items = narrowed(model, items, dimensions)
    return narrow, items, encode_histories(narrow, items, queries.history, user_features, queries.user_rows)


def searchable(bundle: Bundle, dataset: Dataset, *, seed: int) -> Bundle:
    """The bundle with an index of words and the weights of a search by text, if its model reads texts."""
    transforms = bundle.encoder.item_transforms
    if not any(transform.kind == "text" for transform in transforms):
        return bundle
    bundle = replace(bundle, lexical=LexicalIndex.build(joined_texts(transforms, bundle.items)))
    asked = None if bundle.user_texts is not None else np.arange(0)  # those of users without a text ask for nothing
    weights = choose_text_weights(bundle, dataset.queries("validation", asked), seed=seed)
    return replace(bundle, text_weights=weights)


def summary_line(evaluation: EvaluationRecord, published: str = MODEL) -> str:
    """The headline metric of what was published, by that name, and of the baselines, in one line."""
    if not evaluation.methods:
        return f"the model could not be evaluated: {evaluation.left_out[FIGURES]}"
    shown = {MODEL: published} | {method: label(method) for method in evaluation.differences}
    figures = ", ".join(f"{name} {evaluation.headline_of(method).mean:.4f}" for method, name in shown.items())
    queries = counted(evaluation.num_queries, "query", "queries")
    return f"test {evaluation.headline} over {queries}: {figures}"
