"""model.json: the shape of the model, the parameters of the index, and where the bundle came from."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, JsonValue

from .. import files
from ..search import IndexSpec


class Provenance(BaseModel, frozen=True):
    """Where a bundle came from: a training of the same provenance gives the same bundle.

    recsys: the release that made it. training: digests that identify the training. epoch: the one whose weights serve.
    features, split, index: these sections of the training's configuration.
    """

    recsys: str
    training: dict[str, str]
    epoch: int
    features: dict[str, JsonValue]
    split: dict[str, JsonValue]
    index: dict[str, JsonValue]


class Description(BaseModel, frozen=True):
    """The content of model.json. model: the fields of ModelSpec, without the transforms, which the encoder stores."""

    model: dict[str, JsonValue]
    index: IndexSpec
    provenance: Provenance


class BaselineDescription(BaseModel, frozen=True):
    """The content of model.json where the model is a baseline. name, label, half_life: those of ItemItemModel."""

    kind: Literal["item_item"] = "item_item"
    name: str
    label: str
    half_life: float | None
    provenance: Provenance


def read_provenance(path: Path) -> Provenance:
    """Where the verified bundle at ``path`` came from."""
    return read_description(path).provenance


def read_description(path: Path) -> Description | BaselineDescription:
    """The description of the verified bundle at ``path``; that of a baseline says its kind."""
    content = files.read_json(path / "model.json")
    return (BaselineDescription if "kind" in content else Description).model_validate(content)
