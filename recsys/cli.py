"""The command line: every command with its flags and what they mean.

What a command does is in recsys/actions, which calls the stages: features, training, serving.
"""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from . import actions
from .actions import (
    ConfigPath,
    Device,
    History,
    ImporterName,
    ModelName,
    Queries,
    RegistryUri,
    Settings,
    Source,
    TrainingDevice,
    command,
    invoke,
)

if TYPE_CHECKING:
    from .actions import Outcome

app = App(
    name="recsys", help="Retrieval for recommendations: from an event log to served candidates.",
    suppress_keyboard_interrupt=False,
)  # fmt: skip


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
) -> "Outcome":
    """Look at your files, find the log, its columns and its clock, and write a commented config that `run` takes.

    Exit code 2: something is left to decide, such as whether 3/4/2011 is in March or in April.

    Example: recsys init orders.csv products.csv --out shop.toml

    Args:
        paths: the event log and, if there are any, tables of items and users, in any order
        out: the configuration to write; must not exist
        user_id: the log's column of users, if it is not found
        item_id: the log's column of items, if it is not found
        time: the log's column of times, if it is not found
    """
    return actions.init(paths, out, user_id, item_id, time)


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
def build(*, config: ConfigPath, out: Path, settings: Settings = None, workers: int = 1) -> "Outcome":
    """Build the dataset from the log and the metadata.

    Example: recsys build --config my.toml --out dataset --workers 2

    Args:
        out: the dataset folder; a finished one with the same inputs is reused
        workers: how many processes work on the shards (data.shards)
    """
    return actions.build(config, out, settings, workers)


@command(app, stages=1)
def train(
    *, config: ConfigPath, dataset: Path, out: Path, settings: Settings = None, resume: bool = False
) -> "Outcome":
    """Train the two towers on a dataset.

    Example: recsys train --config my.toml --dataset dataset --out run

    Args:
        dataset: a dataset folder, as build writes it
        out: the folder for the trained model; publish takes it as --run
        resume: continue the unfinished training in --out
    """
    return actions.train(config, dataset, out, settings, resume)


@command(app, stages=4)
def publish(
    *, run: Path, baseline: str | None = None, device: TrainingDevice = None, registry: RegistryUri = None
) -> "Outcome":
    """Turn a training into an evaluated bundle with a report, and register it as challenger.

    Example: recsys publish --run run

    Args:
        run: the folder of a finished training; bundle, records and report.html are written into it
        baseline: publish popularity, item_knn or ease, fitted on the same data, instead of the model; into a folder
            baseline-NAME of the run
    """
    return actions.publish(run, baseline, device, registry)


@command(app, stages=2)
def evaluate(*, bundle: Source, queries: Path, device: Device = "auto", registry: RegistryUri = None) -> "Outcome":
    """Score a bundle or a registered version on frozen queries.

    Example: recsys evaluate --bundle models:/recsys@champion --queries run/queries_test.parquet

    Args:
        queries: a file of user_id, history and targets (lists of item ids), such as queries_test.parquet of a run
    """
    return actions.evaluate(bundle, queries, device, registry)


@command(app, stages=2)
def compare(
    a: Source, b: Source, *, events: str | None = None, queries: Queries = None, out: Path | None = None,
    registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Show how B's answers differ from A's, without labels: how much changes, not which is better.

    Example: recsys compare models:/recsys@champion models:/recsys@challenger --events events.parquet --out drift.html

    Args:
        events: a log; the answers to a sample of its users are compared
        out: an HTML page for the figures and charts
    """
    return actions.compare(a, b, events, queries, out, registry)


@command(app, stages=1)
def promote(
    name: ModelName, *, version: int | None = None, dry_run: bool = False, settings: Settings = None,
    registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Judge the challenger against the champion and, if it passes, let it serve. Exit code 3: refused.

    Example: recsys promote recsys

    Args:
        version: judge this version instead of the challenger
        dry_run: judge only, change nothing
    """
    return actions.promote(name, version, dry_run, settings, registry)


@command(app, stages=1)
def rollback(name: ModelName, *, version: int | None = None, registry: RegistryUri = None) -> "Outcome":
    """Make the previous champion, or another version, champion again.

    Example: recsys rollback recsys

    Args:
        version: go back to this version instead of the previous champion
    """
    return actions.rollback(name, version, registry)


@command(app, stages=1)
def history(name: ModelName, *, registry: RegistryUri = None) -> "Outcome":
    """Show who served when, by which decision of the gate, from which data.

    Example: recsys history recsys
    """
    return actions.history(name, registry)


@command(app, stages=3)
def score(
    *, bundle: Source, out: Path, events: str | None = None, queries: Queries = None, items: str | None = None,
    users: str | None = None, k: int = 100, exclude_seen: bool = True, device: Device = "auto",
    registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Recommend to every user of a log or a queries file, as Parquet. Started again, it continues.

    Example: recsys score --bundle models:/recsys@champion --events events.parquet --out recs

    Args:
        out: the folder for the Parquet files; the same inputs continue in it
        events: the full log up to today
        items: today's item metadata, if the bundle's is stale; new items join the catalogue
        users: today's user metadata, if the bundle's is stale
        k: recommendations per user
        exclude_seen: leave out every item of a user's log, or of the history in --queries; --no-exclude-seen keeps them
    """
    return actions.score(  # by serving/batch_scoring.py
        bundle, out, events=events, queries=queries, items=items, users=users, k=k, exclude_seen=exclude_seen,
        device=device, registry=registry,
    )  # fmt: skip


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


@command(app, stages=3)
def recommend(
    *, bundle: Source, user: str | None = None, history: History = None, events: str | None = None, k: int = 10,
    device: Device = "cpu", registry: RegistryUri = None,
) -> "Outcome":  # fmt: skip
    """Look at one answer: the items with their titles and scores, and the items of the history that explain them.

    Example: recsys recommend --bundle run/bundle --user u00042 --events events.parquet

    Args:
        user: a user of the log in --events
        events: the log that has the user's history
        k: how many items
    """
    return actions.recommend(bundle, user, history, events, k, device, registry)


@command(app, stages=0)
def config() -> "Outcome":
    """Print every configuration key with its default, its meaning and its name for --set, as a commented TOML file.

    Example: recsys config > all-keys.toml
    """
    return actions.print_config()


@command(app, stages=1)
def doctor() -> "Outcome":
    """Show what is installed, which devices there are, what is missing and the command that installs it.

    Example: recsys doctor
    """
    return actions.examine_machine()


def main() -> None:
    """Run the command that was typed, and exit with its code: see ``recsys.actions.invocation.invoke``."""
    # threads that spin at every barrier are four times slower on a busy machine (docs/LOG.md); read when torch loads
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["RUST_BACKTRACE"] = os.environ.get("RECSYS_TRACEBACK", "0")  # Polars prints its panics before our line
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # torchrec calls what torch has deprecated
    sys.exit(invoke(app, sys.argv[1:]))


if __name__ == "__main__":
    main()
