"""model.json: the shape of the model, the parameters of the index, and where the bundle came from."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    model_serializer,
)

from .. import files
from ..lexical import Stopwords
from ..search import IndexSpec


class Provenance(BaseModel, frozen=True, strict=True, extra="forbid"):
    """Where a bundle came from: a training of the same provenance gives the same bundle.

    recsys: the release that made it. training: digests that identify the training. epoch: the one whose weights serve.
    features, split, index: these sections of the training's configuration. parent: the id of the bundle that it was
    refreshed from; refresh: a digest of what it was refreshed with; both None where it comes from the training itself.
    title: the item column that shows people what an item is, ``data.title`` of the configuration; None stands for
    "title", if there is one. What is None is not written.
    """

    recsys: str
    training: dict[str, str]
    epoch: int
    features: dict[str, JsonValue]
    split: dict[str, JsonValue]
    index: dict[str, JsonValue]
    parent: str | None = None
    refresh: str | None = None
    title: str | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, object] = dump(self)
        return {name: value for name, value in fields.items() if value is not None}


Share = Annotated[float, Field(ge=0, le=1)]


class TextWeights(BaseModel, frozen=True, strict=True, extra="forbid"):
    """How a search by text weighs what it knows of an item, as chosen at publishing.

    clicks: the share of the item's own vector, which clicks taught; the rest is that of its texts. words: the share of
    BM25; the rest is that of these vectors. words_of_users: the same where users of whom only a text is known are
    recommended to; their vectors are those of the user tower.
    """

    clicks: Share
    words: Share = 0.0
    words_of_users: Share = 0.0


class Description(BaseModel, frozen=True, strict=True, extra="forbid"):
    """The content of model.json.

    model: the fields of ModelSpec, without the transforms, which the encoder stores. text_weights: None, and not
    written, for a model that reads no text, and in bundles of formats 6 and 7. stopwords: those of the lexical index;
    None, and not written, where there is none.
    """

    model: dict[str, JsonValue]
    index: IndexSpec
    provenance: Provenance
    text_weights: TextWeights | None = None
    stopwords: Stopwords | None = None

    @model_serializer(mode="wrap")
    def _without_nothing(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, object] = dump(self)
        return {name: value for name, value in fields.items() if value is not None}


class BaselineDescription(BaseModel, frozen=True, strict=True, extra="forbid"):
    """The content of model.json where the model is a baseline. name, label, half_life: those of ItemItemModel."""

    kind: Literal["item_item"] = "item_item"
    name: str
    label: str
    half_life: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    provenance: Provenance


def read_provenance(path: Path) -> Provenance:
    """Where the verified bundle at ``path`` came from."""
    with files.input_error_if_damaged(path / "model.json"):
        return parse_description((path / "model.json").read_bytes()).provenance


def parse_description(content: bytes) -> Description | BaselineDescription:
    """The content of model.json; that of a baseline says its kind. Raises ValueError if it is neither."""
    return _ANY.validate_json(content)


def _kind(content: object) -> str:
    return "baseline" if isinstance(content, dict) and "kind" in content else "towers"


_ANY: TypeAdapter[Description | BaselineDescription] = TypeAdapter(
    Annotated[
        Annotated[Description, Tag("towers")] | Annotated[BaselineDescription, Tag("baseline")], Discriminator(_kind)
    ]
)
