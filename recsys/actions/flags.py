"""The flags and arguments that several commands of recsys/cli share."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from .engine import EngineName as EngineChoice

ImporterName = Literal["movielens", "amazon", "steam", "goodreads", "retailrocket", "mind", "yelp", "hm", "lastfm"]
ConfigPath = Annotated[Path, Parameter(name="--config", help="the TOML configuration")]
Settings = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="section.key=value, which overrides the configuration; repeatable"),
]
RegistryUri = Annotated[
    str | None, Parameter(name="--registry", help="MLflow URI; else MLFLOW_TRACKING_URI, else ./mlflow.db")
]
Source = Annotated[
    str, Parameter(help="a bundle folder, its address in a bucket, models:/NAME@alias or models:/NAME/VERSION")
]
ModelName = Annotated[str, Parameter(help="the registered model: registry.name of its configuration")]
DeviceName = Literal["cpu", "cuda", "auto"]
Device = Annotated[DeviceName, Parameter(name="--device", help="cpu, cuda (a GPU) or auto (a GPU if there is one)")]
TrainingDevice = Annotated[
    DeviceName | None, Parameter(name="--device", help="cpu, cuda or auto, instead of training.device of the run")
]
History = Annotated[
    list[str] | None,
    Parameter(name="--history", negative=(), consume_multiple=True, help="item ids, oldest first, instead of a user"),
]
EngineName = Annotated[
    EngineChoice, Parameter(name="--engine", help="local (this machine) or ray (a cluster; needs the extra ray)")
]
Address = Annotated[
    str | None,
    Parameter(
        name="--address",
        help="HOST:PORT of the head of a Ray cluster, or auto; else RAY_ADDRESS, else Ray on this machine alone",
    ),
]
AllowEncoder = Annotated[
    list[str] | None,
    Parameter(
        name="--allow-encoder", negative=(),
        help="package.module:function, an encoder of text that the bundle names and whose code you trust; repeatable",
    ),
]  # fmt: skip
Queries = Annotated[str | None, Parameter(help="files of user_id and history (list of item ids), instead of a log")]
