"""A bundle with today's items, without a training: sealed with its parent's id, registered, judged by a short gate."""

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from recsys import files
from recsys.bundle import AnyBundle, BaselineBundle, load_bundle, read_provenance, save_bundle, verify
from recsys.data import AnySource, as_source, named, source_digest
from recsys.errors import InputError
from recsys.progress import stage
from recsys.registry import CHAMPION, MODEL_URI, Registry, RunRecord, Version, resolve
from recsys.retriever import GoldenAnswers, ItemChanges, Retriever, with_newest
from recsys.text_encoders import EncodeTexts

from .evaluation import EvaluationRecord
from .promotion import (
    DATASET_TAG,
    REGISTERED_TAG,
    Decision,
    decide_refresh,
    finish_promotion,
    promote_refresh,
    registered,
)

REFRESH_TAG = "recsys.refresh"  # the id of the bundle that a version was refreshed from
OF_THE_VERSION_ALONE = ("recsys.bundle_id", "recsys.gate", "recsys.rolled_back")  # what a refresh does not inherit
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refreshed:
    """A refreshed bundle.

    placed: whether new items can be in it; without item features in the model they cannot. version, decision: of the
    one that was registered; None where nothing was registered.
    """

    bundle_id: str
    parent_id: str
    changes: ItemChanges
    placed: bool
    version: Version | None = None
    decision: Decision | None = None


def refresh(
    source: str,
    items: AnySource,
    out: Path,
    *,
    complete: bool = False,
    registry_uri: str | None = None,
    encoders: Mapping[str, EncodeTexts] | None = None,
) -> Refreshed:
    """Write a bundle with newer items to ``out``; for ``models:/NAME@champion``, register it and let the gate decide.

    Every step is safe to repeat: the same bundle and the same items give the same bundle id, and one that is at ``out``
    already is taken up where it was left. Where nothing differs from the champion, nothing is registered.

    Args:
        source: a bundle folder or a registered version.
        items: a table of items, as for ``Retriever.load``.
        out: the folder of the new bundle.
        complete: see ``with_metadata``.
        registry_uri: an MLflow registry; None for the default one.
        encoders: as for ``Retriever.load``.

    Raises:
        InputError: the items do not fit the bundle, or ``out`` holds anything but this refresh.
    """
    registry, champion = Registry(registry_uri), None
    located = resolve(source, registry_uri)
    parts = MODEL_URI.fullmatch(source)
    if parts is not None and parts["alias"] == CHAMPION:
        champion = registry.version(parts["name"], CHAMPION)
    with stage("load the bundle"):
        bundle, parent_id = load_bundle(located.path, expected_id=located.bundle_id, encoders=encoders)
        bundle.encoder.require_same_encoders()
        if champion is not None and champion.bundle_id != parent_id:
            raise InputError(f"{source} changed while it was read; run this again")
    bundle_id, changes = _sealed(bundle, parent_id, items, complete, out, located.path)
    refreshed = Refreshed(bundle_id, parent_id, changes, placed=bool(bundle.encoder.item_transforms))
    if champion is None:
        return refreshed
    if not changes:
        finish_promotion(registry, champion)
        return replace(refreshed, version=champion)
    return _register(registry, champion, Retriever(bundle, parent_id), refreshed, out)


def _sealed(
    bundle: AnyBundle, parent_id: str, items: AnySource, complete: bool, out: Path, parent: Path
) -> tuple[str, ItemChanges]:
    """The id of the refreshed bundle at ``out``, which is made unless it is there already; and what it changes."""
    source = as_source(items, "items")
    table = files.digest({"items": source_digest(source, "items")})
    inputs = files.digest(parent_id, table, complete)
    if _holds_this_refresh(out, parent, parent_id, inputs):
        newer, bundle_id = load_bundle(out)
        logger.info("bundle %s is in %s already", bundle_id[:12], out)
        return bundle_id, ItemChanges.between(bundle.items, newer.items)
    with stage("encode the items"):
        newer, as_read, _ = with_newest(bundle, items=items, complete=complete)
        if as_read != table:
            raise InputError(f"{named('items', source)} changed while they were read; run this again")
        changes = ItemChanges.between(bundle.items, newer.items)
    with stage("seal the bundle"):
        provenance = bundle.provenance.model_copy(update={"parent": parent_id, "refresh": inputs})
        bundle_id = _save(replace(newer, provenance=provenance), out)
        logger.info("bundle %s sealed in %s: %s", bundle_id[:12], out, changes)
    return bundle_id, changes


def _holds_this_refresh(out: Path, parent: Path, parent_id: str, inputs: str) -> bool:
    """Whether the bundle is at ``out`` already. Raises InputError if it must not be written there.

    Args:
        out: where it is to be.
        parent, parent_id: the bundle that is refreshed.
        inputs: the digest of all that the refresh is made of.
    """
    if out.resolve() == parent.resolve():
        raise InputError(f"--out {out} is the bundle itself; expected another folder")
    if out.exists() and not (out / "manifest.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} holds something else than a bundle; expected a new folder")
    files.require_writable(out, directory=True)
    if not (out / "manifest.json").is_file():
        return False
    held = verify(out)
    made_of = read_provenance(out)
    if made_of.refresh != inputs:
        whose = "no refresh" if made_of.parent is None else f"a refresh of {made_of.parent[:12]}"
        raise InputError(
            f"--out {out} holds bundle {held[:12]}, {whose}; expected a new folder, or one that holds a refresh of "
            f"{parent_id[:12]} with the same items: choose another folder, or remove this one"
        )
    return True


def _save(bundle: AnyBundle, out: Path) -> str:
    return bundle.save(out) if isinstance(bundle, BaselineBundle) else save_bundle(bundle, out)


def _register(registry: Registry, champion: Version, parent: Retriever, refreshed: Refreshed, out: Path) -> Refreshed:
    """Register the bundle at ``out``, judge it, and let it serve if it passes."""
    judged = Retriever(*load_bundle(out, expected_id=refreshed.bundle_id))
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records"
        with stage("judge the bundle"):
            histories = _write_records(registry.records(champion), records, judged)
            decision = decide_refresh(champion, parent, judged, histories, refreshed.changes, records)
        with stage("register the version"):
            record = _run_record(registry, champion, refreshed, records)
            version = registry.publish(champion.name, out, refreshed.bundle_id, record)
            decision = promote_refresh(registry, version, champion, decision)
    return replace(refreshed, version=version, decision=decision)


def _write_records(parent: Path, records: Path, refreshed: Retriever) -> pl.Series:
    """Write the records of a refreshed version: its parent's figures, its own golden answers; returns their histories.

    A refresh has the weights of its parent, so it is not evaluated again.
    """
    shutil.copytree(parent, records)
    EvaluationRecord.read(records).inherited_by(refreshed.bundle_id).write(records)
    files.write_json(records / "bundle.json", {"bundle_id": refreshed.bundle_id})
    golden = GoldenAnswers.read(records).history if (records / GoldenAnswers.FILE).is_file() else []
    histories = pl.Series("history", golden, dtype=pl.List(refreshed.bundle.encoder.item_ids.dtype))
    if len(histories):
        GoldenAnswers.of(refreshed, histories).write(records)
    return histories


def _run_record(registry: Registry, champion: Version, refreshed: Refreshed, records: Path) -> RunRecord:
    """What MLflow stores about a refreshed version. Its tags are its parent's, and those that name the parent."""
    inherited = {
        name: value
        for name, value in champion.tags.items()
        if not name.startswith("mlflow.") and name not in OF_THE_VERSION_ALONE
    }
    counts = {name: getattr(refreshed.changes, name) for name in ("added", "changed", "removed")}
    return RunRecord(
        parameters={"refresh.parent": champion.number} | {f"refresh.{name}": count for name, count in counts.items()},
        metrics={},
        learning_curve=[],
        files=[(path, "records") for path in sorted(records.iterdir())],
        tags=inherited
        | {
            REFRESH_TAG: refreshed.parent_id,
            "recsys.parent": f"version {champion.number}",
            REGISTERED_TAG: registered(champion).isoformat(),
        },
        description=(
            f"A refresh of version {champion.number}, without a training: {refreshed.changes}. Its figures are "
            f"those of that version. Bundle {refreshed.bundle_id[:12]}. `recsys rollback {champion.name}` goes back."
        ),
        data=(registry.events_of(champion) or "unknown", champion.tags.get(DATASET_TAG) or "unknown"),
    )
