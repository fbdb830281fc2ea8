"""What an MLflow run keeps of a training: parameters, figures, files, and the bundle as a model that MLflow serves.

The model is a pyfunc whose data is a bundle and whose loader is ``recsys.pyfunc``; no pickled code.
"""

import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ..data import read_arrow
from .mlflow_errors import THERE_ALREADY, unless

if TYPE_CHECKING:
    from mlflow import MlflowClient

BUNDLE_TAG = "recsys.bundle_id"
SERVED = ("polars", "pyarrow", "numpy", "pydantic", "safetensors", "mlflow", "torch", "lazy-loader",
          "faiss-cpu", "faiss-gpu-cuvs")  # fmt: skip
PACKAGE = Path(__file__).parents[1]  # the whole of recsys, since a version serves by the code it was logged with
SHOWN_AS = {"mlflow.experimentKind": "custom_model_development"}  # or MLflow's pages take it for a chat bot
DIGEST = 36  # characters of a dataset's, that MLflow keeps
AT_ONCE = 500  # figures in one call; MLflow takes 1,000


@dataclass(frozen=True)
class RunRecord:
    """What an MLflow run stores of a training. curves: a row of figures per epoch. files: (path, folder).

    data: where the events are, and the digest of the dataset made of them.
    """

    parameters: Mapping[str, object]
    metrics: dict[str, float]
    curves: list[dict[str, float]]
    files: list[tuple[Path, str]]
    tags: dict[str, str]
    description: str
    data: tuple[str, str]


def log_run(client: "MlflowClient", name: str, bundle_id: str, record: RunRecord, artifact_root: str | None) -> str:
    """A run of this bundle in the experiment ``name``, with everything but the model logged; returns its id."""
    from mlflow.entities import Dataset, DatasetInput, Metric, Param
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        unless(THERE_ALREADY, client.create_experiment, name, artifact_root, SHOWN_AS)
        experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    tags = {BUNDLE_TAG: bundle_id, "mlflow.note.content": record.description}
    created = client.create_run(experiment.experiment_id, tags=tags, run_name=f"{name}-{bundle_id[:8]}")
    run_id, now = str(created.info.run_id), created.info.start_time
    metrics = [Metric(key, value, now, 0) for key, value in record.metrics.items()] + [
        Metric(f"epoch/{key}", value, now, step)
        for step, row in enumerate(record.curves, start=1)
        for key, value in row.items()
    ]
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in record.parameters.items()])
    for start in range(0, len(metrics), AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + AT_ONCE])
    location, digest = record.data
    events = Dataset(name="events", digest=digest[:DIGEST], source_type="local", source=location)
    try:
        client.log_inputs(run_id, [DatasetInput(events, tags=[])])
    except MlflowException:  # it looks, then inserts: of two who bring the same dataset at once, one fails
        client.log_inputs(run_id, [DatasetInput(events, tags=[])])
    for path, folder in record.files:
        client.log_artifact(run_id, str(path), folder)
    return run_id


def log_bundle(client: "MlflowClient", run_id: str, bundle: Path) -> str:
    """Store the bundle as a pyfunc under the run's ``model`` folder; returns its URI."""
    import mlflow

    signature, example = _contract(bundle)
    with tempfile.TemporaryDirectory() as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mlflow warns of its own type hints when pyfunc is first touched
            mlflow.pyfunc.save_model(
                str(Path(folder) / "model"),
                loader_module="recsys.pyfunc",
                data_path=str(bundle),
                code_paths=[str(PACKAGE)],
                pip_requirements=requirements(),
                signature=signature,
                input_example=example,
            )
        client.log_artifacts(run_id, str(Path(folder) / "model"), "model")
    return f"{client.get_run(run_id).info.artifact_uri}/model"  # a server can't show the schema of a runs:/ URI


def requirements() -> list[str]:
    """What serving a bundle needs, pinned to what is installed here."""
    from importlib.metadata import PackageNotFoundError, version

    pinned = []
    for name in SERVED:
        with suppress(PackageNotFoundError):  # of faiss one build is installed
            pinned.append(f"{name}=={version(name).split('+')[0]}")
    return pinned


def _contract(bundle: Path) -> tuple[Any, Any]:
    """What MLflow is told of the model, as its signature and an example: records of a history, k and user in; ids out.

    A model that knows no users has no place for them.
    """
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    def kind(column: pl.Series) -> DataType:
        return DataType.long if column.dtype.is_integer() else DataType.string

    item_ids = read_arrow(bundle / "items.arrow").get_column("item_id")
    user_ids = read_arrow(bundle / "users.arrow").get_column("user_id")
    ids = Array(kind(item_ids))
    columns: list[Any] = [ColSpec(ids, "history"), ColSpec(DataType.long, "k", required=False)]
    columns += [ColSpec(kind(user_ids), "user_id", required=False)] if len(user_ids) else []
    outputs = Schema([
        ColSpec(ids, "item_ids"), ColSpec(Array(DataType.double), "scores"),
        ColSpec(DataType.string, "reason", required=False), ColSpec(DataType.string, "bundle_id"),
    ])  # fmt: skip
    return ModelSignature(Schema(columns), outputs), pd.DataFrame({"history": [item_ids.head(2).to_list()], "k": [10]})
