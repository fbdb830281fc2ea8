"""The commands that make a model: from a log to a registered bundle."""

from pathlib import Path
from typing import TYPE_CHECKING

from .. import actions
from ..actions import (
    Address,
    AllowEncoder,
    ConfigPath,
    Engine,
    EngineName,
    ImporterName,
    RegistryUri,
    Settings,
    Source,
    TrainingDevice,
    command,
)
from .program import app

if TYPE_CHECKING:
    from ..actions import Outcome


@command(app, stages=8)
def demo(*, out: Path = Path("demo"), registry: RegistryUri = None) -> "Outcome":
    """Run every stage on a synthetic world whose best possible score is known. A second run reuses the first.

    Example: recsys demo

    Args:
        out: the folder for the world, the run and its report
    """
    return actions.demo(out, registry)


@command(app, stages=6)
def run(*, config: ConfigPath, out: Path, settings: Settings = None, registry: RegistryUri = None) -> "Outcome":
    """Build, train and publish into one folder. Started again, it continues where it stopped.

    Example: recsys run --config my.toml --out run

    Args:
        out: the folder for the dataset, the bundle and report.html; the same inputs continue in it
    """
    return actions.run(config, out, settings, registry)


@command(app, stages=1)
def init(
    *paths: Path,
    out: Path = Path("config.toml"),
    user_id: str | None = None,
    item_id: str | None = None,
    time: str | None = None,
    chunk: bool = False,
) -> "Outcome":
    """Look at your files, find the log, its columns and its clock, and write a commented config that `run` takes.

    A file of pairs of texts, such as questions and answers, becomes three tables beside the config. With --chunk,
    Markdown and text files are cut into passages, which questions find, or headings where there are no questions.

    Exit code 2: something is left to decide, such as whether 3/4/2011 is in March or in April.

    Example: recsys init orders.csv products.csv --out shop.toml

    Args:
        paths: the event log and, if there are any, tables of items and users, in any order; with --chunk, documents or
            folders of them and, if there is one, a file of pairs of a question and what answers it
        out: the configuration to write; must not exist
        user_id: the log's column of users, if it is not found
        item_id: the log's column of items, if it is not found
        time: the log's column of times, if it is not found
        chunk: cut documents into passages
    """
    return actions.init(paths, out, user_id, item_id, time, chunk)


@command(app, stages=1)
def import_(name: ImporterName, /, *paths: Path, out: Path) -> "Outcome":
    """Turn a public download into events.parquet, items.parquet and a first config.toml that `recsys run` takes.

    Example: recsys import movielens ml-1m --out movies

    Args:
        name: which download it is
        paths: its unpacked folder, or its files, gzipped or not
        out: the folder for the Parquet files and config.toml; new, or empty
    """
    return actions.import_download(name, paths, out)


@command(app, stages=1)
def build(
    *, config: ConfigPath, out: str, settings: Settings = None, workers: int = 1, engine: EngineName = "local",
    address: Address = None,
) -> "Outcome":  # fmt: skip
    """Build the dataset from the log and the metadata. A cluster, whose machines all see the files, builds the same.

    Example: recsys build --config my.toml --out dataset --workers 2

    Args:
        out: the dataset folder, or an address in a bucket; a finished one with the same inputs is reused
        workers: how many processes work on the shards (data.shards)
    """
    return actions.build(config, out, settings, workers, Engine(engine, address))


@command(app, stages=1)
def train(*, config: ConfigPath, dataset: str, out: Path, settings: Settings = None, resume: bool = False) -> "Outcome":
    """Train the two towers on a dataset.

    Example: recsys train --config my.toml --dataset dataset --out run

    Args:
        dataset: a dataset folder, as build writes it, or its address in a bucket
        out: the folder for the trained model; publish takes it as --run
        resume: continue the unfinished training in --out
    """
    return actions.train(config, dataset, out, settings, resume)


@command(app, stages=4)
def publish(
    *, run: Path, baseline: str | None = None, to: str | None = None, allow_encoder: AllowEncoder = None,
    device: TrainingDevice = None, registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Turn a training into an evaluated bundle with a report, and register it as challenger.

    Example: recsys publish --run run

    Args:
        run: the folder of a finished training; bundle, records and report.html are written into it
        baseline: publish popularity, item_knn or ease, fitted on the same data, instead of the model; into a folder
            baseline-NAME of the run
        to: the address of a folder in a bucket to upload bundle, records and report to, such as s3://shop/models/1
    """
    return actions.publish(run, baseline, device, registry, allow_encoder, to)


@command(app, stages=5)
def refresh(
    *, bundle: Source, items: str, out: Path, complete: bool = False, allow_encoder: AllowEncoder = None,
    registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Put today's items into a bundle without a training. A refresh of the champion serves if a short gate passes.

    Exit code 3: the gate refused, the champion goes on serving.

    Example: recsys refresh --bundle models:/recsys@champion --items items.parquet --out refreshed

    Args:
        items: today's item metadata; new rows are added, known ones replaced
        out: the folder of the new bundle
        complete: the items are the whole catalogue: those that are absent are no longer recommended
    """
    return actions.refresh(bundle, items, out, complete, registry, allow_encoder)


@command(app, stages=10)
def nightly(
    *, config: ConfigPath, events: str, night: str, out: Path = Path(), keep: int = 7, settings: Settings = None,
    registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Train on today's log, let the gate decide what serves, and score every user. Started again, it continues.

    Exit codes: 0 the night's model serves; 3 it was refused, the champion serves; 4 a baseline serves as last resort.

    Example: recsys nightly --config my.toml --events events.parquet --night 2026-11-25

    Args:
        events: the full log up to today
        night: the name of the night, such as its date
        out: the folder for runs/NIGHT, recs/NIGHT, nights/NIGHT.json and the link recs/latest
        keep: how many nights to keep; what serves, served before or recs/latest points to is never deleted
    """
    return actions.nightly(config, events, night, out, keep, settings, registry)
