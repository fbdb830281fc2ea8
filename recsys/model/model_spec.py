"""All that determines a model, except its weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..data import Encoder, Transform

STORED_NAMES = {"history_encoder": "history"}  # a field: its name in files, so that bundle ids stay


@dataclass(frozen=True)
class ModelSpec:
    """Everything that determines a TwoTower, except its weights.

    num_rows: the rows of the item table: one per trained item, and row 0 for unknown ones. embedding_dim: the dimension
    of one member's vectors (the model has ``num_members``). own_vectors: whether known users have vectors of their own,
    in place of their pooled history. temperature: the initial value if ``learn_temperature``. The other fields are as
    in the config keys of the same names.
    """

    num_rows: int
    item_transforms: tuple[Transform, ...]
    user_transforms: tuple[Transform, ...]
    embedding_dim: int
    num_members: int
    history_encoder: Literal["transformer", "pooling"]
    own_vectors: bool
    similarity: Literal["dot", "cosine"]
    num_layers: int
    num_heads: int
    max_history: int
    dropout: float
    id_dropout: float
    user_dropout: float
    temperature: float
    learn_temperature: bool

    @property
    def width(self) -> int:
        """The width of item and user vectors."""
        return self.num_members * self.embedding_dim

    def to_json(self) -> dict[str, bool | int | float | str]:
        """All but the transforms, which the encoder stores, under the names that bundles have always had."""
        stored = {name: value for name, value in asdict(self).items() if not name.endswith("_transforms")}
        return {STORED_NAMES.get(name, name): value for name, value in stored.items()}

    @staticmethod
    def from_json(fields: Mapping[str, Any], encoder: Encoder) -> "ModelSpec":
        """The inverse of ``to_json``, with the encoder's transforms."""
        names = {stored: name for name, stored in STORED_NAMES.items()}
        current = {names.get(name, name): value for name, value in fields.items()}
        return ModelSpec(**current, item_transforms=encoder.item_transforms, user_transforms=encoder.user_transforms)
