"""Every section and key of a configuration: its type, its default and what it means. Those of features, of
the gate and of the index are in feature_keys.py, gate_keys.py and index_keys.py.

A key that is ``None`` by default is chosen from the data when training starts (training/recipe.py).
"""

from datetime import date, time
from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from .feature_keys import FeaturesConfig
from .gate_keys import GateConfig
from .index_keys import IndexConfig
from .section import Name, Section


def _cut(value: object) -> object:
    """Accept the start of a window; TOML dates become ISO text, which survives JSON."""
    if isinstance(value, date):  # a datetime is a date too
        return value.isoformat()
    if isinstance(value, bool | time) or not isinstance(value, str | int | float | None):
        raise ValueError('a value of the time column, a date, or a share of the events as "70%"')
    return value


Cut = Annotated[str | int | float | None, BeforeValidator(_cut)]


class DataConfig(Section):
    """The event log and the metadata: where the files are and what their columns are called."""

    events: Name
    """The event log: a file, a pattern of files, or a folder, also a hive-partitioned one. The ending says the form:
    Parquet (.parquet), CSV (.csv, .tsv), JSON lines (.jsonl, .ndjson), these two also packed (.gz), or Feather
    (.feather, .arrow, .ipc). It may also be in a bucket (s3://, gs://, az://), a Delta table, an Iceberg table
    (iceberg://CATALOGUE/NAMESPACE.TABLE) or a query (duckdb:///shop.db?query=SELECT ...). The same holds for
    data.items, data.users and split.test.
    """
    user_id: Name = "user_id"
    """The column of user ids, in the log and in the user metadata."""
    item_id: Name = "item_id"
    """The column of item ids, in the log and in the item metadata."""
    time: Name | None = None
    """The column that orders the events: numbers, dates, datetimes, or text that ISO 8601 or data.time_format reads.
    Not set: the log is treated as unordered.
    """
    time_format: Name | None = None
    """How times that are text are written, as in "%m/%d/%Y %H:%M" (strptime); "number" reads digits as numbers, "%s" as
    seconds since 1970. Not set: ISO 8601, such as 2011-01-14 09:05.
    """
    id_type: Literal["text", "integer"] = "text"
    """What ids in CSV and JSON lines are: "text" keeps "0042" as it is; "integer" suits ids that are integers in
    another table. Other files have types of their own.
    """
    decimal: Literal[".", ","] = "."
    """The sign before the fraction of a number in CSV: "," for 3,50."""
    items: Name | None = None
    """The file of item metadata, one row per item. Set it to use item features, recommend new items and show
    titles. Not set: no item metadata.
    """
    users: Name | None = None
    """The file of user metadata, one row per user. Set it to use user features. Not set: no user metadata."""
    catalogue: Literal["all", "events"] = "all"
    """Which items can be recommended: "all" takes every item of the metadata, including items without an event;
    "events" takes only items of the log, as published protocols do.
    """
    title: Name | None = None
    """The metadata column that people see in place of item ids. Not set: "title", if it exists."""
    min_user_events: int = Field(3, ge=1)
    """Users with fewer events are trained on but are never validation or test queries. Leave-one-out needs 3. With 1
    and features.user, whoever has no history is a query, too, as in pairs of a text and an item.
    """
    min_item_events: int = Field(1, ge=1)
    """Items with fewer training events get no embedding of their own and are placed by their metadata. Raise it to
    shrink the embedding table of a catalogue with many rare items.
    """
    shards: int | None = Field(None, ge=1, le=10_000)
    """How many parts the users are split into by the feature job, which holds one part in memory at a time. Raise it
    to use more `recsys build --workers`. Not set: 1 if the log fits in data.memory, else as many as it takes to stay
    within that.
    """
    memory: float | None = Field(None, ge=1, le=1_000_000, allow_inf_nan=False)
    """How many GiB the feature job may take, all its processes together; the metadata come on top. Not set: a
    third of the machine's memory, or of what its container allows.
    """

    @property
    def columns(self) -> dict[str, str | None]:
        """The log's column for each of user_id, item_id and time, and how text is read where that is set."""
        columns = {"user_id": self.user_id, "item_id": self.item_id, "time": self.time}
        if self.time_format is not None:
            columns["time_format"] = self.time_format
        if self.decimal != ".":
            columns["decimal"] = self.decimal
        return columns


class SplitConfig(Section):
    """How the events are divided into training, validation and test."""

    kind: Literal["leave_one_out", "temporal", "given", "users"] = "leave_one_out"
    """What is held out: "leave_one_out" tests on the last event of each user, as papers do; "temporal" cuts all users
    at the same times, as a deployment does; "given" tests on the events of split.test; "users" holds a share of the
    users out whole, as pairs of a query and an item need it.
    """
    val_start: Cut = None
    """Where validation starts in a temporal split: a value of the time column, or a share of the events such as "70%".
    Required for a temporal split, unused otherwise.
    """
    test_start: Cut = None
    """Where the test starts in a temporal split, in the form of split.val_start and later than it. Required for a
    temporal split, unused otherwise.
    """
    test: Name | None = None
    """The file of test events, with the columns of the log. Required for a "given" split, unused otherwise."""
    validation_share: float = Field(0.1, gt=0, lt=1)
    """The share of each user's events that a "given" split of unordered data holds out for validation; the share of the
    users that a "users" split holds out, and any split of users with a single event. Of pairs of texts, all users of
    such a share of the items, or of more if that is few, are held out besides, so that validation asks for items that
    training has not seen.
    """
    test_share: float = Field(0.1, gt=0, lt=1)
    """The share of the users that a "users" split holds out for the test."""
    seed: int = Field(0, ge=0)
    """The random seed that chooses the events or users of split.validation_share and split.test_share."""


class ModelConfig(Section):
    """The shape of the two towers."""

    embedding_dim: int | None = Field(None, ge=2, multiple_of=2)
    """The width of one member's vectors. Raise it for more accuracy at the cost of memory and time. Not set: 256 if
    every user has a trained vector (features.user_id), 128 for pairs of texts, 512 for those with an encoder, else 64.
    """
    num_members: int | None = Field(None, ge=1)
    """How many independent two-tower models are trained together; their vectors are concatenated, so that the score is
    the mean of their scores. Not set: 2 with a transformer and for pairs of texts, 1 with pooling and for pairs with an
    encoder.
    """
    history_encoder: Literal["transformer", "pooling", "none"] | None = Field(
        None,
        validation_alias=AliasChoices("history_encoder", "history"),  # the earlier name, in stored configurations
    )
    """How a history becomes a vector: "transformer" reads the order of the items, "pooling" averages them, "none" reads
    the user's columns alone. Not set: none if users have a text and half of them one event, else transformer if
    data.time is set, else pooling.
    """
    similarity: Literal["dot", "cosine"] | None = None
    """How user and item vectors are compared. Not set: dot with a transformer, cosine with pooling."""
    num_layers: int = Field(2, ge=1)
    """Transformer layers. Unused with pooling."""
    num_heads: int = Field(2, ge=1)
    """Attention heads per transformer layer; model.embedding_dim must be a multiple of twice this number. Unused with
    pooling.
    """
    max_history: int = Field(200, ge=1)
    """The most recent items of a history that the model reads. Lower it for speed if histories are short or old items
    say little.
    """
    dropout: float | None = Field(None, ge=0, lt=1)
    """The share of activations that training sets to zero. Raise it if the model over-fits. Not set: 0.3 with a
    transformer (0.5 below 30 training events per item), 0.2 with pooling (0.1 with trained user vectors).
    """
    id_dropout: float | None = Field(None, ge=0, le=1)
    """The share of items per step that train without their id, so that metadata alone can place a new item; 1 never
    reads an id. Not set: 0.1 if there are item features (1 if model.history_encoder is none), else 0.
    """
    user_dropout: float | None = Field(None, ge=0, lt=1)
    """The share of users per step that train without their metadata, so that the history alone can serve a new user.
    Not set: 0.15 if there are user features and no trained user vectors, else 0.
    """


class LossConfig(Section):
    """Sampled softmax: where negatives come from and how scores are scaled."""

    num_negatives: int = Field(1024, ge=1)
    """Negative items drawn per step, shared by the whole batch. More is better and slower."""
    in_batch: bool = False
    """Also use the other positives of the batch as negatives."""
    popularity_exponent: float = Field(0.0, ge=0)
    """Negatives are drawn with probability proportional to count ** this: 0 is uniform, 1 follows popularity. The loss
    corrects for the choice.
    """
    temperature: float | None = Field(None, gt=0)
    """Scores are divided by it: lower pushes harder on the hardest negatives. Not set: 1 with dot; with cosine 0.08, or
    0.2 if the mean user holds more than 0.5% of the catalogue.
    """
    negative_exponent: float | None = Field(None, gt=0)
    """Weight of the negatives against the positive; above 1, negatives push harder than the positive pulls. Not set: 1
    with dot, 1.22 with cosine.
    """
    learn_temperature: bool = False
    """Train the temperature, starting from loss.temperature."""
    mask_history: bool | None = None
    """Never use an item of the user's own history as a negative. Not set: true with pooling if the mean user holds more
    than 0.5% of the catalogue, else false.
    """


class TrainingConfig(Section):
    """The optimizer and when to stop."""

    batch_tokens: int | None = Field(None, ge=1)
    """History positions per step, padding included, over all processes. Lower it if memory runs out. Not set: 2048 with
    a transformer (1024 below 30 training events per item), 4096 with pooling.
    """
    learning_rate: float | None = Field(None, gt=0)
    """The step size of the optimizer; it falls linearly over the last 40% of the epochs. Lower it if the loss is not
    finite. Not set: 0.003 with a transformer, 0.001 with pooling (0.002 with trained user vectors).
    """
    weight_decay: float | None = Field(None, ge=0)
    """Decoupled weight decay of AdamW. Not set: 1 with pooling and no trained user vectors, else 0."""
    epochs: int | None = Field(None, ge=1)
    """The most passes over the training histories. Not set: 40 with a transformer (30 below 30 training events per
    item), 60 with pooling (100 below 30), 70 with trained user vectors.
    """
    patience: int = Field(20, ge=1)
    """Stop after this many epochs without a better validation score. High, because small validation sets are noisy."""
    refit: bool | None = None
    """Train again on training and validation events together, for the best number of epochs. Not set: true for a
    "given" split, whose validation events belong to the training file.
    """
    average_decay: float = Field(0.999, ge=0, lt=1)
    """Decay per step of the running average of the weights, which is what serves. 0 takes the last weights."""
    table_optimizer: Literal["adamw", "rowwise_adagrad"] = "adamw"
    """The optimizer of the embedding tables. Several processes on CPU need "rowwise_adagrad": FBGEMM has no Adam there.
    """
    seed: int = Field(0, ge=0)
    """The random seed of training: the same seed gives the same bits."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training runs; "auto" takes a GPU if there is one."""
    memory: float | None = Field(None, gt=0)
    """The most GiB of the device's memory that training may use; of several processes, each. Not set: all that is free.
    A training that cannot fit is refused before it starts.
    """


class RegistryConfig(Section):
    """The model registry."""

    name: Name = "recsys"
    """The name that versions are registered, promoted and served under."""


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
        """Whether every training user has a trained vector: by default, if the data is unordered and a query has
        a history.
        """
        by_default = self.data.time is None and not self.asks_without_history
        return by_default if self.features.user_id is None else self.features.user_id

    @property
    def asks_without_history(self) -> bool:
        """Whether a query may be a user without a history, of whom columns are known."""
        return self.data.min_user_events == 1 and bool(self.features.user)

    @property
    def compares_texts(self) -> bool:
        """Whether the data are pairs of texts: who asks has no history, but a text column that items have, too."""
        texts_of_items = {feature.name for feature in self.features.item if feature.kind == "text"}
        return self.asks_without_history and any(
            feature.kind == "text" and feature.name in texts_of_items for feature in self.features.user
        )
