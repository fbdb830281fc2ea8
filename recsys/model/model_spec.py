"""All that determines a model, except its weights."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from ..data import OWN_ID, Encoder, Transform

Share = Annotated[float, Field(strict=True, ge=0, lt=1)]
Positive = Annotated[int, Field(strict=True, ge=1, lt=1 << 31)]
Flag = Annotated[bool, Field(strict=True)]
MAX_BLOCKS = 1024  # transformer blocks of all members; what else a model allocates is bounded by its weights

HistoryEncoder = Literal["transformer", "pooling", "none"]
LATER_NAMES = ("shared", "knows_profiles", "dimensions")
STORED_NAMES = {"history_encoder": "history"}  # a field: its name in files, so that bundle ids stay


@dataclass(frozen=True)
class ModelSpec:
    """Everything that determines a TwoTower, except its weights.

    num_rows: the rows of the item table: one per trained item, and row 0 for unknown ones. embedding_dim: the dimension
    of one member's vectors (the model has ``num_members``). own_vectors: whether known users have vectors of their own,
    in place of their pooled history. temperature: the initial value if ``learn_temperature``. shared: the user columns
    that read the embedding tables and weights of the item columns of the same names. knows_profiles: whether users
    without a history were trained on, who are encoded from their columns alone. dimensions: how many numbers of a
    vector serve, as in ``index.dimensions``; None: all, as in training. The other fields are as in the config keys of
    the same names.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    num_rows: Positive
    item_transforms: tuple[Transform, ...]
    user_transforms: tuple[Transform, ...]
    embedding_dim: Positive
    num_members: Positive
    history_encoder: HistoryEncoder
    own_vectors: Flag
    similarity: Literal["dot", "cosine"]
    num_layers: Positive
    num_heads: Positive
    max_history: Positive
    dropout: Share
    id_dropout: Annotated[float, Field(strict=True, ge=0, le=1)]
    user_dropout: Share
    temperature: Annotated[float, Field(strict=True, gt=0, le=1e6)]
    learn_temperature: Flag
    shared: tuple[str, ...] = ()
    knows_profiles: Flag = False
    dimensions: Positive | None = None

    @property
    def own_user_transforms(self) -> tuple[Transform, ...]:
        """The user transforms that have tables and weights of their own."""
        return tuple(transform for transform in self.user_transforms if transform.name not in self.shared)

    @property
    def width(self) -> int:
        """The width of item and user vectors as they are trained."""
        return self.num_members * self.embedding_dim

    @property
    def served_width(self) -> int:
        """The width of item and user vectors as the model returns them."""
        return self.dimensions or self.width

    def to_json(self) -> dict[str, JsonValue]:
        """All but the transforms, which the encoder stores, under the names that bundles have always had.

        What came later is stored only where it is set, so that ids of bundles stay.
        """
        stored = {name: value for name, value in asdict(self).items() if not name.endswith("_transforms")}
        stored = {name: value for name, value in stored.items() if value or name not in LATER_NAMES}
        if self.shared:
            stored["shared"] = list(self.shared)
        return {STORED_NAMES.get(name, name): value for name, value in stored.items()}

    @staticmethod
    def from_json(fields: Mapping[str, Any], encoder: Encoder) -> "ModelSpec":
        """The inverse of ``to_json``, with the encoder's transforms. Raises ValueError if they are of no such model."""
        names = {stored: name for name, stored in STORED_NAMES.items()}
        current = {names.get(name, name): value for name, value in fields.items()}
        transforms = {"item_transforms": encoder.item_transforms, "user_transforms": encoder.user_transforms}
        spec = _FIELDS.validate_python(current | transforms)
        has_own_ids = spec.history_encoder == "pooling" and any(t.name == OWN_ID.name for t in spec.user_transforms)
        if spec.num_rows != encoder.num_trained + 1 or (spec.own_vectors and not has_own_ids):
            raise ValueError(f"the model has {spec.num_rows} rows, for {encoder.num_trained} items, or no own vectors")
        if spec.shared != shared_columns(encoder, spec.shared):
            raise ValueError(f"the towers share {spec.shared}, which are not columns of both")
        if spec.history_encoder == "none" and not spec.knows_profiles:
            raise ValueError("the model reads neither histories nor columns of users")
        if spec.id_dropout == 1 and not spec.item_transforms:
            raise ValueError("the model reads neither ids nor columns of items")
        if spec.embedding_dim % (2 * spec.num_heads) and spec.history_encoder == "transformer":
            raise ValueError(f"embedding_dim is {spec.embedding_dim}, with {spec.num_heads} heads")
        if spec.served_width > spec.width:
            raise ValueError(f"{spec.dimensions} dimensions serve, of {spec.width}")
        if spec.num_members * spec.num_layers > MAX_BLOCKS:
            raise ValueError(f"the model has {spec.num_members} members of {spec.num_layers} layers")
        return spec


def shared_columns(encoder: Encoder, names: Collection[str] | None = None) -> tuple[str, ...]:
    """The user columns, of those named or of all, that are encoded as an item column of the same name is."""
    return tuple(
        transform.name
        for transform in encoder.user_transforms
        if transform in encoder.item_transforms and (names is None or transform.name in names)
    )


_FIELDS = TypeAdapter(ModelSpec)
