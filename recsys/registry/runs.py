"""What an MLflow run stores of a training: parameters, figures, files, and the bundle as a model that MLflow can serve.

The model is a pyfunc whose data is a bundle and whose loader is ``recsys.pyfunc``. No code is pickled: the source of
the whole package is logged beside the data, so that a version serves with the code it was published with.
"""

import math
import re
import tempfile
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle import verify
from ..data import read_arrow
from ..plain_text import plain_text
from .artifacts import upload
from .deadline import bounded
from .mlflow_errors import THERE_ALREADY, unless
from .versions import BUNDLE_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

SERVED = ("polars", "pyarrow", "numpy", "pydantic", "safetensors", "mlflow", "torch", "lazy-loader", "scipy",
          "faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs")  # fmt: skip
PACKAGE = Path(__file__).parents[1]  # the folder of recsys
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow shows the pages of a chat bot
DIGEST_LENGTH = 36  # characters of a dataset's digest; MLflow stores no more
METRICS_PER_CALL = 500  # MLflow's limit is 1,000
PARAMETERS_PER_CALL = 100  # MLflow's limit
LONGEST_NAME, LONGEST_PARAMETER, LONGEST_TAG, LONGEST_SOURCE = 250, 6_000, 5_000, 60_000  # characters, likewise
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_\-. :/]")
DEFAULT_K = 10  # recommendations a record, where neither it nor the parameters of the request say


@dataclass(frozen=True)
class RunRecord:
    """What an MLflow run stores of a training, besides the model.

    learning_curve: figures by name, epoch by epoch. files: (path, folder in the run). data: where the events are, and
    the digest of the dataset made of them.
    """

    parameters: Mapping[str, object]
    metrics: dict[str, float]
    learning_curve: list[dict[str, float]]
    files: list[tuple[Path, str]]
    tags: dict[str, str]
    description: str
    data: tuple[str, str]


def accepted(record: RunRecord) -> RunRecord:
    """The record as MLflow and every database behind it accept it: a training must not be lost to a long text.

    Characters that a database refuses are replaced, names are reduced to those that MLflow allows, texts are cut, and
    figures that are not finite are left out.
    """

    def cleaned(values: Mapping[str, object], longest: int) -> dict[str, str]:
        return {_name(key): plain_text(value, longest) for key, value in values.items()}

    def finite(figures: dict[str, float]) -> dict[str, float]:
        return {_name(key): value for key, value in figures.items() if math.isfinite(value)}

    return replace(
        record,
        parameters=cleaned(record.parameters, LONGEST_PARAMETER),
        metrics=finite(record.metrics),
        learning_curve=[finite(row) for row in record.learning_curve],
        tags=cleaned(record.tags, LONGEST_TAG),
        description=plain_text(record.description, LONGEST_TAG),
        data=(plain_text(record.data[0], LONGEST_SOURCE), record.data[1]),
    )


def _name(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:LONGEST_NAME]


def log_run(client: "MlflowClient", name: str, bundle_id: str, record: RunRecord, artifact_root: str | None) -> str:
    """Create a run for a bundle in the experiment ``name`` and log everything but the model; returns the run's id."""
    from mlflow.entities import Dataset, DatasetInput, Metric, Param
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        unless(THERE_ALREADY, client.create_experiment, name, artifact_root, EXPERIMENT_TAGS)
        experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    tags = {BUNDLE_TAG: bundle_id, "mlflow.note.content": record.description}
    created = client.create_run(experiment.experiment_id, tags=tags, run_name=f"{name}-{bundle_id[:8]}")
    run_id, now = str(created.info.run_id), created.info.start_time
    metrics = [Metric(key, value, now, 0) for key, value in record.metrics.items()] + [
        Metric(f"epoch/{key}", value, now, step)
        for step, row in enumerate(record.learning_curve, start=1)
        for key, value in row.items()
    ]
    params = [Param(key, str(value)) for key, value in record.parameters.items()]
    for start in range(0, len(params), PARAMETERS_PER_CALL):
        client.log_batch(run_id, params=params[start : start + PARAMETERS_PER_CALL])
    for start in range(0, len(metrics), METRICS_PER_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_CALL])
    location, digest = record.data
    events = Dataset(name="events", digest=digest[:DIGEST_LENGTH], source_type="local", source=location)
    try:
        client.log_inputs(run_id, [DatasetInput(events, tags=[])])
    except MlflowException:  # MLflow looks, then inserts: of two processes with the same new dataset, one fails
        client.log_inputs(run_id, [DatasetInput(events, tags=[])])
    for path, folder in record.files:
        upload(client, run_id, path, folder)
    return run_id


def finish_run(client: "MlflowClient", run_id: str) -> None:
    """Mark a run as finished; MLflow's ``set_terminated`` would print a line about it."""
    from mlflow.entities import RunStatus

    now = time.time_ns() // 1_000_000
    bounded(client._tracking_client.store.update_run_info, run_id, RunStatus.FINISHED, now, None)


def log_bundle(client: "MlflowClient", run_id: str, bundle: Path, bundle_id: str) -> str:
    """Store the bundle as a pyfunc in the run's ``model`` folder; returns its URI.

    Raises:
        BundleError: What was to be stored is not the bundle of that id.
    """
    import mlflow

    signature, example = _contract(bundle)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing mlflow.pyfunc warns about mlflow's own type hints
            mlflow.pyfunc.save_model(
                str(model),
                loader_module="recsys.pyfunc",
                data_path=str(bundle),
                code_paths=[str(PACKAGE)],
                pip_requirements=requirements(),
                signature=signature,
                input_example=example,
                model_config={"device": "cpu"},  # MLflow lets a caller change only what is named here
                metadata={BUNDLE_TAG: bundle_id},  # recsys.pyfunc loads no other bundle from here
            )
        verify(model / "data" / bundle.name, bundle_id)
        upload(client, run_id, model, "model")
    return f"{client.get_run(run_id).info.artifact_uri}/model"  # for a runs:/ URI the server shows no schema


def logged_bundle_id(model: Path) -> str | None:
    """The bundle id that ``log_bundle`` wrote into a model's MLmodel; None where an earlier release logged it."""
    from mlflow.models import Model

    logged = (Model.load(str(model)).metadata or {}).get(BUNDLE_TAG)
    return None if logged is None else str(logged)


def requirements() -> list[str]:
    """The packages that serving a bundle needs, pinned to the versions installed here."""
    from importlib.metadata import PackageNotFoundError, version

    pinned = []
    for name in SERVED:
        with suppress(PackageNotFoundError):  # of the builds of faiss, one is installed
            pinned.append(f"{name}=={version(name).split('+')[0]}")
    return pinned


def _contract(bundle: Path) -> tuple[Any, Any]:
    """The signature of a bundle's model, and an example: records of history, k and user_id in; ids and scores out.

    A bundle without users has no user_id. What goes in has the type "any": MLflow's own types refuse a record without k
    beside one that has it, because pandas turns its integers into floats, and cut the ids of a history that has a null.
    recsys.pyfunc checks all of it.
    """
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema

    item_ids = read_arrow(bundle / "items.arrow").get_column("item_id")
    user_ids = read_arrow(bundle / "users.arrow").get_column("user_id")
    ids = Array(DataType.long if item_ids.dtype.is_integer() else DataType.string)
    optional = ["k", "user_id"] if len(user_ids) else ["k"]
    anything: Any = AnyType
    inputs: list[Any] = [ColSpec(anything(), "history")]
    inputs += [ColSpec(anything(), name, required=False) for name in optional]
    outputs = Schema([
        ColSpec(ids, "item_ids"), ColSpec(Array(DataType.double), "scores"),
        ColSpec(DataType.string, "reason", required=False), ColSpec(DataType.string, "bundle_id"),
    ])  # fmt: skip
    params = ParamSchema([
        ParamSpec("k", DataType.long, DEFAULT_K), ParamSpec("exclude_seen", DataType.boolean, default=True)
    ])  # fmt: skip
    example = pd.DataFrame({"history": [item_ids.head(2).to_list()], "k": [DEFAULT_K]})
    return ModelSignature(Schema(inputs), outputs, params), example
