"""The configuration: TOML to frozen models. What is ``None`` here is chosen from the data (training/recipe.py)."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

FeatureKind = Literal["categorical", "multi_categorical", "numeric", "text", "vector"]


def _cut(value: object) -> object:
    """TOML's own dates become ISO text, so that a cut survives JSON."""
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, bool | time) or not isinstance(value, str | int | float | None):
        raise ValueError('a value of the time column, a date, or a share of the events as "70%"')
    return value


def _distinct(features: tuple["FeatureConfig", ...]) -> tuple["FeatureConfig", ...]:
    names = [feature.name for feature in features]
    if len(set(names)) < len(names):
        raise ValueError("every feature once")
    return features


Name = Annotated[str, Field(min_length=1)]
Cut = Annotated[str | int | float | None, BeforeValidator(_cut)]


class Section(BaseModel):
    """Frozen; an unknown key is an error, and so is a value of another type (1 is a number, "1" and true are not)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class DataConfig(Section):
    """Where the log and the metadata are, and how their columns are called."""

    events: Name
    user_id: Name = "user_id"
    item_id: Name = "item_id"
    time: Name | None = None  # any sortable column; None: the data is unordered
    items: Name | None = None
    users: Name | None = None
    catalogue: Literal["all", "events"] = "all"
    title: Name | None = None  # what people read in reports; None: the column "title" where there is one
    min_user_events: int = Field(3, ge=1)  # users with fewer events train, but are no query
    min_item_events: int = Field(1, ge=1)  # items with fewer training events get no row of their own
    shards: int = Field(1, ge=1)

    @property
    def columns(self) -> dict[str, str | None]:
        """Our names to the log's own."""
        return {"user_id": self.user_id, "item_id": self.item_id, "time": self.time}


class FeatureConfig(Section):
    """One metadata column."""

    name: Name
    kind: FeatureKind


Features = Annotated[tuple[FeatureConfig, ...], Field(strict=False), AfterValidator(_distinct)]


class FeaturesConfig(Section):
    """The metadata columns the towers read."""

    item: Features = ()
    user: Features = ()
    user_id: bool | None = None  # a vector of every training user's own; None: where the data is unordered


class SplitConfig(Section):
    """How the log is divided into training, validation and test."""

    kind: Literal["leave_one_out", "temporal", "given"] = "leave_one_out"
    val_start: Cut = None  # a value of the time column, or a share of the events as "70%"
    test_start: Cut = None
    test: Name | None = None  # the Parquet file of the test events of a "given" split
    validation_share: float = Field(0.1, gt=0, lt=1)  # of each user's events, where a "given" split is unordered
    seed: int = Field(0, ge=0)  # draws them


class ModelConfig(Section):
    """The shape of the two towers."""

    embedding_dim: int | None = Field(None, ge=2, multiple_of=2)  # of one member
    num_members: int | None = Field(None, ge=1)  # independent two-towers whose vectors stand side by side
    history: Literal["transformer", "pooling"] | None = None
    similarity: Literal["dot", "cosine"] | None = None
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(2, ge=1)
    max_history: int = Field(200, ge=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    id_dropout: float | None = Field(None, ge=0, lt=1)
    user_dropout: float | None = Field(None, ge=0, lt=1)  # of all that is known of a user but the history


class LossConfig(Section):
    """Sampled softmax: where negatives come from and how logits are scaled."""

    num_negatives: int = Field(1024, ge=1)
    in_batch: bool = False  # add the batch's own positives to the pool of negatives
    popularity_exponent: float = Field(0.0, ge=0)  # negatives are drawn with probability ~ count ** exponent
    temperature: float | None = Field(None, gt=0)
    negative_exponent: float | None = Field(None, gt=0)  # above 1, negatives push harder than the positive pulls
    learn_temperature: bool = False
    mask_history: bool | None = None  # never use an item of the user's own history as a negative


class TrainingConfig(Section):
    """The optimiser and when to stop."""

    batch_tokens: int | None = Field(None, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    epochs: int | None = Field(None, ge=1)
    patience: int = Field(20, ge=1)  # epochs without a better validation score, which few queries tell badly
    refit: bool | None = None  # train again, on validation's events too; None: where the test events are given apart
    average_decay: float = Field(0.999, ge=0, lt=1)
    table_optimizer: Literal["adamw", "rowwise_adagrad"] = "adamw"
    seed: int = Field(0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class IndexConfig(Section):
    """How the top k are found."""

    kind: Literal["auto", "exact", "hnsw", "ivf"] = "auto"
    target_recall: float = Field(0.98, gt=0, le=1)  # well above what the gate asks for, which asks other users


class GateConfig(Section):
    """What a version must show to be promoted. Gains, margins and shares are of the champion's own figure."""

    required_gain: float = Field(0.0, gt=-1)  # NDCG@10, low end of the interval; below 0, a margin of non-inferiority
    slice_margin: float = Field(0.1, ge=0)  # how far a slice may fall, where it is no chance
    min_queries: int = Field(200, ge=2)
    min_slice_queries: int = Field(30, ge=2)  # a slice of fewer is not judged
    index_recall: float = Field(0.95, ge=0, le=1)
    latency_ms: float = Field(100.0, gt=0)  # 95th percentile of one recommendation
    coverage_share: float = Field(0.8, ge=0)
    gini_rise: float = Field(0.05, ge=0)  # of exposure: 0 is even, 1 is one item for all


class RegistryConfig(Section):
    """The registered model's name."""

    name: Name = "recsys"


class Config(Section):
    """A whole configuration file."""

    data: DataConfig
    features: FeaturesConfig = FeaturesConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    index: IndexConfig = IndexConfig()
    gate: GateConfig = GateConfig()
    registry: RegistryConfig = RegistryConfig()

    @property
    def embeds_users(self) -> bool:
        """Whether every training user has a vector of their own: without an order, a history alone says too little."""
        return self.data.time is None if self.features.user_id is None else self.features.user_id


_PATHS = (("data", "events"), ("data", "items"), ("data", "users"), ("split", "test"))


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read a TOML file and apply ``section.key=value`` overrides.

    Paths inside the file are relative to the file, paths in overrides to the working directory. Raises ValueError
    with one line that names the key, what was found and what would be valid.
    """
    if not path.is_file():
        raise ValueError(f"no config at {path}; expected a TOML file: give its path with --config")
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    _anchor(tree, path.resolve().parent)
    for override in overrides:
        _apply(tree, override)
    _anchor(tree, Path.cwd())
    return parse_config(tree, str(path))


def with_overrides(config: Config, overrides: tuple[str, ...], source: str) -> Config:
    """The configuration with ``section.key=value`` overrides; errors as in ``load_config``."""
    tree = config.model_dump(mode="json")
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, source)


def parse_config(tree: Mapping[str, Any], source: str) -> Config:
    """Validate a parsed configuration; ``source`` names it in errors."""
    _check_keys(tree, Config, source, ())
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{source}: {_complaint(key, first['type'], first['msg'], first['input'])}") from error


def _complaint(key: str, kind: str, message: str, found: object) -> str:
    if kind == "missing":
        return f"{key} is missing; a config names the log as [data] events, and every feature's name and kind"
    if kind == "model_type":
        return f"{key} is {found!r}; expected a section: write [{key}] and its keys below"
    if kind == "tuple_type":
        return f"{key} is {found!r}; expected a list of tables: write [[{key}]] before each"
    for phrase in ("Value error, ", "Input should be ", "String should have "):
        message = message.removeprefix(phrase)
    return f"{key} is {found!r}; expected {message}"


def _anchor(tree: dict[str, Any], folder: Path) -> None:
    for section, key in _PATHS:
        value = tree.get(section, {}).get(key) if isinstance(tree.get(section), dict) else None
        if value and isinstance(value, str) and not Path(value).is_absolute():
            tree[section][key] = str(folder / value)


def _apply(tree: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    section, _, key = name.strip().partition(".")
    if not equals or not key or "." in key:
        raise ValueError(f"--set {override!r}: expected section.key=value, as in --set training.epochs=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    keys = tree.setdefault(section, {})
    if not isinstance(keys, dict):
        raise ValueError(f"--set {override!r}: {section} is {keys!r} in the config; expected a section")
    keys[key] = value


def _check_keys(tree: object, model: type[BaseModel], source: str, above: tuple[str, ...]) -> None:
    if not isinstance(tree, Mapping):
        return
    for key, value in tree.items():
        if key not in model.model_fields:
            raise ValueError(f"{source}: unknown key {'.'.join((*above, key))!r}; {_remedy(key, model)}")
        annotation = model.model_fields[key].annotation
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                for row in value if isinstance(value, list) else [value]:
                    _check_keys(row, inner, source, (*above, key))


def _remedy(key: str, model: type[BaseModel]) -> str:
    """The valid key spelt most alike, or the section that the key belongs in."""
    near = difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.75)
    homes = [f"{name}.{key}" for name, field in Config.model_fields.items() if key in _fields(field.annotation)]
    likely = near or homes or difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.5)
    if likely:
        return f"did you mean {' or '.join(map(repr, likely))}?"
    return f"valid keys: {', '.join(model.model_fields)}"


def _fields(annotation: object) -> Iterable[str]:
    return annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else ()
