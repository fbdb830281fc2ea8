"""The configuration: TOML to frozen models. What is ``None`` here is chosen from the data (training/recipe.py)."""

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FeatureKind = Literal["categorical", "multi_categorical", "numeric", "text", "vector"]


class Section(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class DataConfig(Section):
    """Where the log and the metadata are, and how their columns are called."""

    events: str
    user_id: str = "user_id"
    item_id: str = "item_id"
    time: str | None = None  # any sortable column; None: the data is unordered
    items: str | None = None
    users: str | None = None
    catalogue: Literal["all", "events"] = "all"
    title: str | None = None  # what people read in reports; None: the column "title" where there is one
    min_user_events: int = Field(3, ge=1)  # users with fewer events train, but are no query
    min_item_events: int = Field(1, ge=1)  # items with fewer training events get no row of their own
    shards: int = Field(1, ge=1)

    @property
    def columns(self) -> dict[str, str | None]:
        """Our names to the log's own."""
        return {"user_id": self.user_id, "item_id": self.item_id, "time": self.time}


class FeatureConfig(Section):
    """One metadata column."""

    name: str
    kind: FeatureKind


class FeaturesConfig(Section):
    """The metadata columns the towers read."""

    item: tuple[FeatureConfig, ...] = ()
    user: tuple[FeatureConfig, ...] = ()


class SplitConfig(Section):
    """How the log is divided into training, validation and test."""

    kind: Literal["leave_one_out", "temporal", "given"] = "leave_one_out"
    val_start: str | int | float | None = None  # a value of the time column, or a share of the events as "70%"
    test_start: str | int | float | None = None
    test: str | None = None
    validation_share: float = Field(0.1, gt=0, lt=1)


class ModelConfig(Section):
    """The shape of the two towers."""

    embedding_dim: int = Field(64, ge=2, multiple_of=2)
    history: Literal["transformer", "pooling"] | None = None
    similarity: Literal["dot", "cosine"] | None = None
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(2, ge=1)
    max_history: int = Field(200, ge=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    id_dropout: float | None = Field(None, ge=0, lt=1)


class LossConfig(Section):
    """Sampled softmax: where negatives come from and how logits are scaled."""

    num_negatives: int = Field(1024, ge=1)
    in_batch: bool = False  # add the batch's own positives to the pool of negatives
    popularity_exponent: float = Field(0.0, ge=0)  # negatives are drawn with probability ~ count ** exponent
    temperature: float | None = Field(None, gt=0)
    learn_temperature: bool = False
    mask_history: bool = False  # never use an item of the user's own history as a negative


class TrainingConfig(Section):
    """The optimiser and when to stop."""

    batch_tokens: int | None = Field(None, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    epochs: int | None = Field(None, ge=1)
    patience: int = Field(12, ge=1)  # epochs without a better validation score
    average_decay: float = Field(0.999, ge=0, lt=1)
    table_optimizer: Literal["adamw", "rowwise_adagrad"] = "adamw"
    seed: int = Field(0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class IndexConfig(Section):
    """How the top k are found."""

    kind: Literal["auto", "exact", "hnsw", "ivf"] = "auto"
    target_recall: float = Field(0.95, gt=0, le=1)


class RegistryConfig(Section):
    """The registered model's name."""

    name: str = "recsys"


class Config(Section):
    """A whole configuration file."""

    data: DataConfig
    features: FeaturesConfig = FeaturesConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    index: IndexConfig = IndexConfig()
    registry: RegistryConfig = RegistryConfig()


_PATHS = (("data", "events"), ("data", "items"), ("data", "users"), ("split", "test"))


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read a TOML file and apply ``section.key=value`` overrides.

    Paths inside the file are relative to the file, paths in overrides to the working directory. Raises ValueError
    with one line that names the key, what was found and what would be valid.
    """
    if not path.is_file():
        raise ValueError(f"no config at {path}; expected a TOML file: give its path with --config")
    try:
        tree = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    _anchor(tree, path.resolve().parent)
    for override in overrides:
        _apply(tree, override)
    _anchor(tree, Path.cwd())
    return parse_config(tree, str(path))


def parse_config(tree: dict[str, Any], source: str) -> Config:
    """Validate a parsed configuration; ``source`` names it in errors."""
    _check_keys(tree, Config, source, ())
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        found = "" if first["type"] == "missing" else f" (found {first['input']!r})"
        raise ValueError(f"{source}: {key}: {first['msg']}{found}") from error


def _anchor(tree: dict[str, Any], folder: Path) -> None:
    for section, key in _PATHS:
        value = tree.get(section, {}).get(key) if isinstance(tree.get(section), dict) else None
        if isinstance(value, str) and not Path(value).is_absolute():
            tree[section][key] = str(folder / value)


def _apply(tree: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    parts = name.strip().split(".")
    if not equals or len(parts) != 2:
        raise ValueError(f"--set {override!r}: expected section.key=value, as in --set training.epochs=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    section = tree.setdefault(parts[0], {})
    if not isinstance(section, dict):
        raise ValueError(f"--set {override!r}: {parts[0]} is not a section")
    section[parts[1]] = value


def _check_keys(tree: object, model: type[BaseModel], source: str, above: tuple[str, ...]) -> None:
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if key not in model.model_fields:
            near = difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(model.model_fields)}"
            raise ValueError(f"{source}: unknown key {'.'.join((*above, key))!r}; {remedy}")
        inner = model.model_fields[key].annotation
        rows = value if isinstance(value, list) else [value]
        for candidate in (inner, *get_args(inner)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                for row in rows:
                    _check_keys(row, candidate, source, (*above, key))
