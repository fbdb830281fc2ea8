"""What the configuration leaves open is chosen here from the data. Every default stands beside its reason."""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from recsys.config import Config
from recsys.data import OWN_ID, Encoder, JaggedParts
from recsys.errors import InputError
from recsys.model import HistoryEncoder, ModelSpec, shared_columns

Value = TypeVar("Value")

DENSE_EVENTS = 30  # a log with more training events per item is dense: enough to determine an item's vector well
CROWDED = 0.005  # if the mean user holds more of the catalogue, own items are often drawn as negatives


@dataclass(frozen=True)
class Preset:
    """The defaults that go together, for one kind of model on one kind of log."""

    embedding_dim: int
    num_members: int
    dropout: float
    learning_rate: float
    weight_decay: float
    batch_tokens: int
    epochs: int
    piece_length: int | None = None  # of unordered histories, see training/batches/loader.py
    id_dropout: float = 0.1  # an item must sometimes be placed by its metadata alone, or cold items end up anywhere
    user_dropout: float = 0.15  # a user with nothing but a history must be served, too


TRANSFORMER = Preset(
    embedding_dim=64,
    num_members=2,  # two transformers see different things in a history, and their mean is better than either
    dropout=0.5,  # sparse logs over-fit: best at 13 events per item (amazon-beauty)
    learning_rate=3e-3,  # three times the usual step learns in half the epochs (docs/LOG.md, 2026-11-28)
    weight_decay=0.0,
    batch_tokens=1024,  # frequent steps need fewer epochs, most of all in a sparse log, whose batches hold more users
    epochs=30,
)
DENSE_TRANSFORMER = replace(
    TRANSFORMER,
    dropout=0.3,  # best at 44 events per item (ml-100k) and at 290 (ml-1m)
    batch_tokens=2048,
    epochs=40,
)
POOLING = Preset(
    embedding_dim=64,
    num_members=1,
    dropout=0.2,
    learning_rate=1e-3,
    weight_decay=1.0,  # without an order to learn, a pooled model memorises; strong decay prevents that
    batch_tokens=4096,
    epochs=100,
)
DENSE_POOLING = replace(POOLING, epochs=60)
OWN_VECTORS = replace(
    POOLING,
    embedding_dim=256,  # a user's own vector can hold more than a history tells, so four times the width pays
    dropout=0.1,
    learning_rate=2e-3,
    weight_decay=0.0,
    epochs=70,  # vectors that start at the log's singular vectors have little left to learn
    piece_length=2,  # moves a user's own vector more often than once per epoch; 2 does so most often
)
PAIRS = Preset(
    embedding_dim=128,
    num_members=2,
    dropout=0.2,
    learning_rate=3e-3,
    weight_decay=0.01,
    batch_tokens=64,  # few pairs say much each: frequent steps
    epochs=40,
    id_dropout=1.0,  # the id of a document of some pair would outweigh the words of all others (docs/LOG.md)
    user_dropout=0.0,  # there is nothing else
)
ENCODED_PAIRS = replace(
    PAIRS,
    embedding_dim=512,  # all numbers of an encoder's vector in one member, which begins exactly as the encoder
    num_members=1,
)


@dataclass(frozen=True)
class Recipe:
    """All that training needs to know and that the configuration may leave open."""

    model: ModelSpec
    piece_length: int | None
    negative_exponent: float
    mask_history: bool
    batch_tokens: int
    learning_rate: float
    weight_decay: float
    epochs: int
    refit: bool


def resolve(config: Config, encoder: Encoder, histories: JaggedParts) -> Recipe:
    """Choose what the configuration leaves open; what it sets is taken as it is.

    Args:
        config: The configuration.
        encoder: The dataset's encoder, for the number of items and the columns.
        histories: The training histories.

    Raises:
        InputError: If settings contradict each other.
    """
    num_events, num_items = histories.num_values, encoder.num_trained
    dense = num_events > DENSE_EVENTS * num_items
    crowded = num_events > CROWDED * len(histories) * num_items
    history_encoder = choose(config.model.history_encoder, default_history_encoder(config, encoder, histories))
    own_vectors = history_encoder == "pooling" and any(column.name == OWN_ID.name for column in encoder.user_transforms)
    encoded = any(column.encoding is not None for column in encoder.user_transforms)
    preset = choose_preset(history_encoder, own_vectors=own_vectors, dense=dense, encoded=encoded)
    model = resolve_model(config, encoder, preset, history_encoder, own_vectors=own_vectors, crowded=crowded)
    loss, training, dimensions = config.loss, config.training, config.index.dimensions
    if dimensions is not None and dimensions > model.width:
        raise InputError(
            f"index.dimensions is {dimensions}, of vectors of {model.width} numbers; expected at most {model.width}"
        )
    return Recipe(
        model=model,
        piece_length=preset.piece_length,
        negative_exponent=choose(loss.negative_exponent, 1.22 if model.similarity == "cosine" else 1.0),
        # with an order, any item but the next is a negative; without one, an item that the user has is none
        mask_history=choose(loss.mask_history, history_encoder == "pooling" and crowded),
        batch_tokens=choose(training.batch_tokens, preset.batch_tokens),
        learning_rate=choose(training.learning_rate, preset.learning_rate),
        weight_decay=choose(training.weight_decay, preset.weight_decay),
        epochs=choose(training.epochs, preset.epochs),
        # a given training file includes its validation events, and of pairs whole documents are held out for them;
        # otherwise, published protocols leave them out
        refit=choose(
            training.refit, config.split.kind == "given" or (history_encoder == "none" and bool(model.shared))
        ),
    )


def default_history_encoder(config: Config, encoder: Encoder, histories: JaggedParts) -> HistoryEncoder:
    """None for pairs, which are users with a text, half of them or more with a single event."""
    has_text = any(column.kind == "text" for column in encoder.user_transforms)
    if config.asks_without_history and has_text and np.median(histories.lengths) <= 1:
        return "none"
    return "pooling" if config.data.time is None else "transformer"


def choose_preset(history_encoder: str, *, own_vectors: bool, dense: bool, encoded: bool = False) -> Preset:
    """The preset of a kind of history encoder.

    With or without users' own vectors, on a dense or a sparse log; of pairs, with or without a pretrained encoder.
    """
    if own_vectors:
        return OWN_VECTORS
    if history_encoder == "none":
        return ENCODED_PAIRS if encoded else PAIRS
    if history_encoder == "pooling":
        return DENSE_POOLING if dense else POOLING
    return DENSE_TRANSFORMER if dense else TRANSFORMER


def resolve_model(
    config: Config,
    encoder: Encoder,
    preset: Preset,
    history_encoder: HistoryEncoder,
    *,
    own_vectors: bool,
    crowded: bool,
) -> ModelSpec:
    """The shape of the model. Raises InputError if settings contradict each other."""
    model, loss = config.model, config.loss
    default: Literal["dot", "cosine"] = "dot" if history_encoder == "transformer" else "cosine"
    knows_profiles = not own_vectors and any(column.name != OWN_ID.name for column in encoder.user_transforms)
    similarity = choose(model.similarity, default)
    spec = ModelSpec(
        num_rows=encoder.num_trained + 1,
        item_transforms=encoder.item_transforms,
        user_transforms=encoder.user_transforms,
        embedding_dim=choose(model.embedding_dim, preset.embedding_dim),
        num_members=choose(model.num_members, preset.num_members),
        history_encoder=history_encoder,
        own_vectors=own_vectors,
        similarity=similarity,
        num_layers=model.num_layers,
        num_heads=model.num_heads,
        max_history=model.max_history,
        dropout=choose(model.dropout, preset.dropout),
        id_dropout=choose(model.id_dropout, preset.id_dropout if encoder.item_transforms else 0.0),
        # with own vectors, FoldIn takes care of users without them
        user_dropout=choose(
            model.user_dropout, preset.user_dropout if encoder.user_transforms and not own_vectors else 0.0
        ),
        temperature=choose(loss.temperature, default_temperature(similarity, crowded=crowded)),
        learn_temperature=loss.learn_temperature,
        shared=shared_columns(encoder),
        knows_profiles=knows_profiles,
    )
    if spec.id_dropout == 1 and not encoder.item_transforms:
        raise InputError("model.id_dropout = 1 leaves an item nothing; expected less, or features.item")
    if history_encoder == "none" and not knows_profiles:
        raise InputError('model.history_encoder = "none" leaves a user nothing; expected features.user')
    if history_encoder == "pooling" and spec.max_history < 2:
        raise InputError("model.max_history = 1 leaves a pooled history nothing but its target; expected 2 or more")
    if history_encoder == "transformer" and spec.embedding_dim % (2 * spec.num_heads):
        raise InputError(
            f"model.embedding_dim = {spec.embedding_dim} does not divide into model.num_heads = {spec.num_heads} "
            f"heads of even width; expected a multiple of {2 * spec.num_heads}"
        )
    return spec


def default_temperature(similarity: str, *, crowded: bool) -> float:
    """Of dot products 1. Unit vectors differ by 2 at most, so their products are scaled up; less if users hold much of
    the catalogue.
    """
    if similarity == "dot":
        return 1.0
    return 0.2 if crowded else 0.08


def settled(config: Config, recipe: Recipe) -> Config:
    """The configuration with everything it leaves open set as the recipe chose it."""
    chosen = vars(recipe) | vars(recipe.model) | {"user_id": config.embeds_users}
    sections = {
        name: section.model_copy(update={key: chosen[key] for key, value in section if value is None and key in chosen})
        for name, section in config
    }
    return config.model_copy(update=sections)


def choose(setting: Value | None, default: Value) -> Value:
    """The setting if it is set, else the default."""
    return default if setting is None else setting
