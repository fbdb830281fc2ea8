"""The command line: the one place that puts the stages together. Stages are imported when their command runs."""

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import App, CycloptsError, Parameter

from .errors import InputError

if TYPE_CHECKING:
    from .config import Config
    from .data import Dataset

app = App(name="recsys", help="Retrieval for recommendations: from an event log to served candidates.")

IMPORT_HELP = """Public downloads to events.parquet, items.parquet and a first config.toml.

Example: recsys import movielens ml-1m --out movies
"""
downloads = App(name="import", help=IMPORT_HELP)
app.command(downloads)

Settings = Annotated[
    list[str] | None, Parameter(name="--set", negative=(), help="section.key=value, over the config; repeatable")
]
ConfigPath = Annotated[Path, Parameter(name="--config", help="the TOML configuration")]
RegistryUri = Annotated[
    str | None, Parameter(name="--registry", help="MLflow URI; else MLFLOW_TRACKING_URI, else ./mlflow.db")
]


@app.command
def demo(*, out: Path = Path("demo"), registry: RegistryUri = None) -> None:
    """Every stage on a synthetic world whose best possible score is known; a second run reuses the first.

    Example: recsys demo

    Parameters
    ----------
    out
        the folder for the world, the run and its report
    """
    from training.evaluation import BASELINES, MODEL, EvaluationRecord

    from . import demo as demonstration
    from .registry import CHAMPION, Registry

    run(config=demonstration.write_world(out), out=out / "run", registry=registry)
    promote(demonstration.NAME, registry=registry)
    record = EvaluationRecord.read(out / "run" / "records")
    shown = {baseline.label: baseline.name for baseline in BASELINES if baseline.required} | {"our model": MODEL}
    demonstration.show(out / "run", {label: record.headline_of(name).mean for label, name in shown.items()})
    champion = Registry(registry).version(demonstration.NAME, CHAMPION)
    _say(f"\nchampion: {demonstration.NAME} version {champion.number if champion else None}")
    _say(f"report: {out / 'run' / 'report.html'}")
    model = f"models:/{demonstration.NAME}@champion"
    command = "recsys" if shutil.which("recsys") else sys.argv[0]  # the environment may not be on the path
    _say(f"next: {command} score --bundle {model} --events {out}/events.parquet --out {out}/recs")


@app.command
def run(*, config: ConfigPath, out: Path, settings: Settings = None, registry: RegistryUri = None) -> None:
    """Build, train and publish into one folder; started again, it goes on where it stopped.

    Example: recsys run --config my.toml --out run

    Parameters
    ----------
    out
        the folder for the dataset, the bundle and report.html; the same inputs continue in it
    """
    from training.publish import publish as publish_run

    dataset, loaded = _built(config, settings, out / "dataset", 1)
    _trained(loaded, dataset, out, resume=True)
    publish_run(out, registry_uri=registry)
    _say(f"report: {out / 'report.html'}")


@downloads.command
def movielens(path: Path, /, *, out: Path) -> None:
    """An unpacked MovieLens folder: 100k, 1M, 10M, 20M, 25M, 32M or latest.

    Example: recsys import movielens ml-1m --out movies

    Parameters
    ----------
    path
        the folder inside the archive, with u.data, ratings.dat or ratings.csv
    out
        the folder for the Parquet files and config.toml; must not exist
    """
    from features.importers import convert_download

    _imported(convert_download("movielens", [path], out), out)


@downloads.command
def amazon(*paths: Path, out: Path) -> None:
    """Amazon reviews and metadata, JSON lines as downloaded: 2014 or 2023.

    Example: recsys import amazon reviews_Beauty_5.json.gz meta_Beauty.json.gz --out beauty

    Parameters
    ----------
    paths
        review files and, optionally, metadata files, gzipped or not, in any order
    out
        the folder for the Parquet files and config.toml; must not exist
    """
    from features.importers import convert_download

    _imported(convert_download("amazon", paths, out), out)


@app.command
def build(*, config: ConfigPath, out: Path, settings: Settings = None, workers: int = 1) -> None:
    """Build the dataset artifact from the log and the metadata.

    Example: recsys build --config my.toml --out dataset --workers 2

    Parameters
    ----------
    out
        the dataset folder; a finished one of the same inputs is reused
    workers
        processes over which the shards (data.shards) are spread
    """
    _built(config, settings, out, workers)


@app.command
def train(*, config: ConfigPath, dataset: Path, out: Path, settings: Settings = None, resume: bool = False) -> None:
    """Train the two towers on a dataset.

    Example: recsys train --config my.toml --dataset dataset --out run

    Parameters
    ----------
    dataset
        a dataset folder, as build writes it
    out
        the folder for the trained model; publish takes it as --run
    resume
        go on with the unfinished training in --out
    """
    from .config import load_config
    from .data import Dataset

    _trained(load_config(config, tuple(settings or ())), Dataset.open(dataset), out, resume=resume)


@app.command
def publish(*, run: Path, registry: RegistryUri = None) -> None:
    """Item vectors, index, bundle, evaluation, report; register the bundle as challenger.

    Example: recsys publish --run run

    Parameters
    ----------
    run
        the folder of a finished training; bundle, records and report.html are written into it
    """
    from training.publish import publish as publish_run

    publish_run(run, registry_uri=registry)


@app.command
def evaluate(*, bundle: str, queries: Path, registry: RegistryUri = None) -> None:
    """Score a bundle or a registered model on frozen queries.

    Example: recsys evaluate --bundle models:/recsys@champion --queries run/queries_test.parquet

    Parameters
    ----------
    bundle
        a bundle folder, models:/NAME@alias or models:/NAME/VERSION
    queries
        Parquet of user_id, history and targets (lists of item ids), such as queries_test.parquet of a run
    """
    from training.evaluation import rank_queries, summarise

    from .data import read_queries
    from .retriever import Retriever

    table = read_queries(str(queries), targets=True)
    retriever = Retriever.load(bundle, registry_uri=registry)
    record = summarise(rank_queries(retriever, table, None), retriever, None)
    _say(f"bundle {record.bundle_id[:12]}, {record.num_queries:,} queries")
    for metric, value in record.methods["model"].items():
        _say(f"{metric:12s} {value.mean:.4f}  [{value.low:.4f}, {value.high:.4f}]")


@app.command
def compare(
    a: str,
    b: str,
    *,
    events: str | None = None,
    queries: str | None = None,
    out: Path | None = None,
    registry: RegistryUri = None,
) -> None:
    """Say how B's answers differ from A's, without labels: how much changes, not which is better.

    Example: recsys compare models:/recsys@champion models:/recsys@challenger --events events.parquet --out drift.html

    Parameters
    ----------
    a
        a bundle folder, models:/NAME@alias or models:/NAME/VERSION
    b
        likewise, from the same catalogue
    events
        a log, a sample of whose users is asked for
    queries
        user_id and history (list of item ids), instead of a log
    out
        a page with the figures and charts
    """
    from recsys import files
    from recsys.retriever import Retriever
    from training.drift import compare_bundles, lines, read_histories, render

    old, new = (Retriever.load(source, registry_uri=registry) for source in (a, b))
    figures = compare_bundles(old, new, read_histories(old, events=events, queries=queries))
    _say("\n".join(lines(figures)))
    if out is not None:
        with files.replacing(out) as page:
            page.write_text(render(figures))
        _say(f"page: {out}")


@app.command
def promote(
    name: str,
    *,
    version: int | None = None,
    dry_run: bool = False,
    settings: Settings = None,
    registry: RegistryUri = None,
) -> None:
    """Judge the challenger against the champion and, if it passes, move the aliases. Exit code 3: refused.

    Example: recsys promote recsys

    Parameters
    ----------
    name
        the registered model: registry.name of its config
    version
        judge this version instead of the challenger
    dry_run
        judge only, change nothing
    """
    from training.promotion import promote as promote_model

    overrides = tuple(settings or ())
    decision = promote_model(name, number=version, dry_run=dry_run, overrides=overrides, registry_uri=registry)
    _say("\n".join(decision.lines(dry_run=dry_run)))
    if not decision.promoted:
        sys.exit(3)


@app.command
def rollback(name: str, *, version: int | None = None, registry: RegistryUri = None) -> None:
    """Make the previous champion, or another version, champion again.

    Example: recsys rollback recsys

    Parameters
    ----------
    name
        the registered model: registry.name of its config
    version
        go back to this version instead of the previous champion
    """
    from training.promotion import rollback as roll_back

    roll_back(name, number=version, registry_uri=registry)


@app.command
def history(name: str, *, registry: RegistryUri = None) -> None:
    """Who served when, by which decision of the gate, from which data.

    Example: recsys history recsys

    Parameters
    ----------
    name
        the registered model: registry.name of its config
    """
    from training.promotion import version_history

    _say("\n".join(version_history(name, registry_uri=registry).lines()))


@app.command
def score(
    *,
    bundle: str,
    out: Path,
    events: str | None = None,
    queries: str | None = None,
    items: str | None = None,
    users: str | None = None,
    k: int = 100,
    exclude_seen: bool = True,
    registry: RegistryUri = None,
) -> None:
    """Recommend to every user of a log (or of a queries file), as Parquet parts; started again, it goes on.

    Example: recsys score --bundle models:/recsys@champion --events events.parquet --out recs

    Parameters
    ----------
    bundle
        a bundle folder, models:/NAME@alias or models:/NAME/VERSION
    out
        the folder for the Parquet parts; the same inputs continue in it
    events
        the full log up to today
    queries
        user_id and history (list of item ids), scored as given
    items
        today's item metadata, where the bundle's would be stale; new items join the catalogue
    users
        today's user metadata
    k
        recommendations for each user
    exclude_seen
        leave out the items of a user's history
    """
    from serving.score import score as score_users

    from .retriever import Retriever

    retriever = Retriever.load(bundle, items=items, users=users, registry_uri=registry)
    totals = score_users(retriever, out, events=events, queries=queries, k=k, exclude_seen=exclude_seen)
    _say(
        ", ".join(f"{count:,} {name}" for name, count in totals.to_json().items())
        + f"; bundle {retriever.bundle_id[:12]}"
    )


@app.command
def config() -> None:
    """Print every configuration key with its default, its meaning and its name for --set, as a commented TOML file.

    Example: recsys config > my.toml
    """
    from .config_reference import as_toml

    _say(as_toml())


@app.command
def doctor() -> None:
    """What is installed, which devices there are, what is missing and the command that mends it.

    Example: recsys doctor
    """
    from .doctor import examine

    lines, healthy = examine()
    _say("\n".join(lines))
    if not healthy:
        sys.exit(2)


def main() -> None:
    """Run a command. Bad input is one line on stderr and exit code 2; RECSYS_TRACEBACK=1 shows where it came from."""
    # on a busy machine threads that spin at every barrier are four times slower (docs/LOG.md); read when torch loads
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # torchrec asks torch something deprecated
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False)
    except (InputError, OSError) as error:
        if os.environ.get("RECSYS_TRACEBACK"):
            raise
        _fail(str(error))
    except CycloptsError as error:
        command = " ".join(["recsys", *(error.command_chain or ())])
        _fail(f"{str(error).strip()} See `{command} --help`")


def _fail(reason: str) -> NoReturn:
    print(f"error: {' '.join(reason.splitlines())}", file=sys.stderr)
    sys.exit(2)


def _say(line: str) -> None:
    print(line, flush=True)


def _imported(rows: dict[str, int], out: Path) -> None:
    _say(f"{out}: " + ", ".join(f"{count:,} {name}" for name, count in rows.items()))
    _say(f"next: recsys run --config {out / 'config.toml'} --out run")


def _built(config: Path, settings: list[str] | None, out: Path, workers: int) -> "tuple[Dataset, Config]":
    from features.build import build as build_dataset

    from .config import load_config

    loaded = load_config(config, tuple(settings or ()))
    dataset = build_dataset(loaded, out, workers=workers)
    counts = {name.replace("_", " "): count for name, count in dataset.manifest.statistics.to_json().items() if count}
    _say(f"dataset {out}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    return dataset, loaded


def _trained(config: "Config", dataset: "Dataset", out: Path, *, resume: bool) -> None:
    from training.loop import train as train_model

    from .registry import check_name

    check_name(config.registry.name)  # now, rather than after an hour
    train_model(config, dataset, out, resume=resume)


if __name__ == "__main__":
    main()
