"""From a log to a registered version: import, build, train, publish, run."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import InputError, RegistryError
from ..metrics import Interval
from ..paths import bucket_address, local_path
from ..progress import expect_stage, stage
from .console import is_first_process
from .engine import LOCAL, Engine
from .outcome import Outcome, in_words, next_command
from .outputs import Output, finished_dataset, output, writable_folder
from .versions import score_with_champion

if TYPE_CHECKING:
    from training.publish import Published as PublishedVersion

    from ..config import Config
    from ..data import Dataset, DatasetManifest

Settings = list[str] | None
PUBLISHED = ("bundle", "records", "report.html", "queries_test.parquet")  # what is uploaded of a run
logger = logging.getLogger(__name__)


class Imported(Outcome, frozen=True):
    """A public download as Parquet. rows: by table. notes: what was left out. config: a first configuration."""

    out: Path
    rows: dict[str, int]
    notes: list[str]
    config: Path

    def lines(self) -> list[str]:
        """The number of rows by table, and what was left out, not read or could not be."""
        return [f"{self.out}: {in_words(self.rows)}", *self.notes]


class Built(Outcome, frozen=True):
    """A dataset. digest: of the inputs and settings. statistics: what the build counted."""

    dataset: str
    digest: str
    statistics: dict[str, int]

    def lines(self) -> list[str]:
        """What was counted."""
        return [f"dataset {self.dataset}: {in_words(self.statistics)}"]


class Trained(Outcome, frozen=True):
    """A finished training. best_epoch: whose weights are kept. best_score: its validation NDCG@10."""

    run: Path
    epochs: int
    best_epoch: int
    best_score: float

    def lines(self) -> list[str]:
        """The best epoch."""
        best = f"best epoch {self.best_epoch} of {self.epochs}, validation NDCG@10 {self.best_score:.4f}"
        return [f"training {self.run}: {best}"]


class Published(Outcome, frozen=True):
    """A registered version. role: "challenger", "champion" or "behind challenger NUMBER".

    figures: the headline metric by method on the held-out queries, with a 95% interval. baseline: the name of the one
    that was published; None for a model. report: None for a baseline. uploaded: the address of the folder in a bucket
    that has the bundle and its records, if it was asked for.
    """

    name: str
    version: int
    role: str
    registry: str
    run: Path
    bundle: Path
    bundle_id: str
    report: Path | None
    headline: str
    num_queries: int
    figures: dict[str, Interval]
    baseline: str | None = None
    uploaded: str | None = None

    def lines(self) -> list[str]:
        """The figures, and where everything is."""
        from training.evaluation import MODEL, label  # here, so that a build does not import torch

        model_first = sorted(self.figures.items(), key=lambda figure: figure[0] != MODEL)
        names = {MODEL: MODEL if self.baseline is None else f"{label(self.baseline)} as it serves"}
        means = ", ".join(f"{names.get(method, label(method))} {value.mean:.4f}" for method, value in model_first)
        return [
            f"test {self.headline} over {self.num_queries:,} queries: {means}",
            f"bundle {self.bundle_id[:12]} in {self.bundle}",
            f"{self.name} version {self.version} is {self.role} in {self.registry}",
            *([] if self.report is None else [f"report: {self.report}"]),
            *([] if self.uploaded is None else [f"uploaded: {self.uploaded}, whose bundle is {self.uploaded}/bundle"]),
        ]


class RunFinished(Published, frozen=True):
    """A dataset, a training and a registered version, in one folder."""

    dataset: Path
    digest: str
    statistics: dict[str, int]

    def lines(self) -> list[str]:
        """What was counted, then the figures and where everything is."""
        return [f"dataset {self.dataset}: {in_words(self.statistics)}", *super().lines()]


def import_download(name: str, paths: Sequence[Path], out: Path) -> Outcome:
    """Convert a public download. name: of the importer."""
    from features.importers import convert_download

    files.require_writable(out)
    with stage("import the download"):
        imported = convert_download(name, paths, out)
    config = out / "config.toml"
    following = next_command("run", config=config, out=out / "run")
    return Imported(out=out, rows=imported.rows, notes=imported.notes, config=config, next=following)


def build(config: Path, out: str | Path, settings: Settings, workers: int, engine: Engine = LOCAL) -> Outcome:
    """Build a dataset."""
    with output(out) as written:
        manifest, _ = _build(config, settings, written, workers, engine)
    following = next_command("train", config=config, dataset=written.location, out="run", set=settings)
    return Built(**_dataset_fields(written.location, manifest), next=following)


def train(config: Path, dataset: str | Path, out: Path, settings: Settings, resume: bool) -> Outcome:
    """Train on a dataset."""
    from ..config import load_config
    from ..data import Dataset

    files.require_writable(out)
    location = bucket_address(dataset) or local_path(dataset)
    _train(load_config(config, tuple(settings or ())), Dataset.open(location), out, resume=resume)
    following = next_command("publish", run=out)
    if not is_first_process():  # the first one may still be writing
        return Trained(run=out, epochs=0, best_epoch=0, best_score=0.0, next=following)
    from training.checkpoints import checkpoint

    progress = checkpoint.load(out / "model.safetensors").progress
    return Trained(
        run=out, epochs=progress.epoch, best_epoch=progress.best_epoch, best_score=progress.best_score, next=following
    )


def publish(
    run: Path, baseline: str | None, device: str | None, registry: str | None, allow_encoder: list[str] | None = None,
    to: str | None = None,
) -> Published:  # fmt: skip
    """Register a training, or a baseline fitted on its data, as challenger; upload what was published, if asked.

    device: for a training, where its vectors are computed and searched; None: as its configuration says. to: the
    address of the folder to upload it to.
    """
    from training.promotion import BASELINE_TAG
    from training.publish_baseline import publish_baseline

    stored = None if to is None else writable_folder(to)
    if stored is not None:
        expect_stage()
    if baseline is None:
        fields = _publish(run, registry, device, tuple(allow_encoder or ()))
    else:
        files.require_writable(run / f"baseline-{baseline}" / "bundle")
        with _kept(next_command("publish", run=run, baseline=baseline, registry=registry)):
            published = publish_baseline(run, baseline, registry_uri=registry)
        fields = _published_fields(run, published, registry)
        fields |= {"report": None, "baseline": published.version.tags[BASELINE_TAG]}
    done = Published.model_validate(fields)
    if stored is None:
        return done
    with stage("upload what was published"):
        stored.finish(done.bundle.parent, PUBLISHED)
    return done.model_copy(update={"uploaded": stored.address})


def run(config: Path, out: Path, settings: Settings, registry: str | None) -> RunFinished:
    """Build, train and publish into one folder."""
    from ..config import load_config
    from ..data import Dataset
    from ..registry import Registry

    for folder in ("", "dataset", "bundle", "records"):
        files.require_writable(out / folder)
    Registry(registry).require_ready(load_config(config, tuple(settings or ())).registry.name)
    location = str(out / "dataset")
    manifest, loaded = _build(config, settings, Output(location, out / "dataset"))
    _train(loaded, Dataset.open(location), out, resume=True)
    published = _publish(out, registry, allowed_encoders=loaded.features.encoders)
    return RunFinished.model_validate(published | _dataset_fields(location, manifest))


def _build(
    config: Path, settings: Settings, out: Output, workers: int = 1, engine: Engine = LOCAL
) -> "tuple[DatasetManifest, Config]":
    from ..config import load_config
    from ..data import require_outside
    from ..registry import check_name

    loaded = load_config(config, tuple(settings or ()))
    check_name(loaded.registry.name)  # now, rather than after an hour
    require_outside(out.location, events=loaded.data.events, items=loaded.data.items, users=loaded.data.users)
    with stage("build the dataset"):
        manifest = finished_dataset(loaded, out)
        if manifest is None:
            manifest = _dataset(loaded, out.folder, workers, engine).manifest
        counts = manifest.statistics
        logger.info(
            "%s events, %s users, %s items", *(f"{n:,}" for n in (counts.log.events, counts.users, counts.items))
        )
    if out.folder.exists():
        out.upload("dataset", keep=True)
    return manifest, loaded


def _dataset(config: "Config", out: Path, workers: int, engine: Engine) -> "Dataset":
    if engine.is_ray:
        if workers != 1:
            raise InputError(
                f"--workers is {workers} with --engine ray, which has the cluster's processors; leave it out"
            )
        from features.on_ray import build_on_ray

        return build_on_ray(config, out, engine.address)
    from features.build import build

    return build(config, out, workers=workers)


def _train(config: "Config", dataset: "Dataset", out: Path, *, resume: bool) -> None:
    from training.loop import train as train_model

    from ..registry import check_name

    check_name(config.registry.name)  # now, rather than after an hour
    train_model(config, dataset, out, resume=resume)


def _publish(
    folder: Path, registry: str | None, device: str | None = None, allowed_encoders: tuple[str, ...] = ()
) -> dict[str, object]:
    """The fields of Published."""
    from training.publish import publish as publish_run

    from ..text_encoders import import_functions

    for made in ("bundle", "records"):
        files.require_writable(folder / made)
    with _kept(next_command("publish", run=folder, registry=registry)):
        published = publish_run(
            folder, registry_uri=registry, device=device, encoders=import_functions(allowed_encoders)
        )
    return _published_fields(folder, published, registry)


@contextmanager
def _kept(following: str) -> Iterator[None]:
    """Say, where only the registry failed, which command continues: the bundle and its records are finished."""
    try:
        yield
    except RegistryError as error:
        raise RegistryError(f"{error}. The bundle is finished and stays; continue with `{following}`") from error


def _published_fields(run: Path, published: "PublishedVersion", registry: str | None) -> dict[str, object]:
    from ..registry import CHALLENGER, CHAMPION, Registry

    version, evaluation = published.version, published.evaluation
    following = next_command("history", version.name, registry=registry)
    if published.role == CHALLENGER:
        following = next_command("promote", version.name, registry=registry)
    elif published.role == CHAMPION:
        following = score_with_champion(version.name, version.number, registry)
    return {
        "name": version.name, "version": version.number, "role": published.role, "registry": Registry(registry).uri,
        "run": run, "bundle": published.folder / "bundle", "bundle_id": evaluation.bundle_id,
        "report": published.folder / "report.html",
        "headline": evaluation.headline, "num_queries": evaluation.num_queries, "next": following,
        "figures": {method: evaluation.headline_of(method) for method in evaluation.methods},
    }  # fmt: skip


def _dataset_fields(location: str, manifest: "DatasetManifest") -> dict[str, object]:
    return {"dataset": location, "digest": manifest.digest, "statistics": manifest.statistics.to_json()}
