"""The defaults that adapt to the data: one recipe, with the reason of every choice."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from recsys.config import Config
from recsys.data import OWN_ID, Encoder, Jagged
from recsys.errors import InputError
from recsys.model import ModelSpec

Value = TypeVar("Value")

DENSE_EVENTS = 30  # a mean of more training events an item than this is a dense log: its vectors are well determined

CROWDED = 0.005  # a user holds more of the catalogue than this: own items are often drawn as negatives

PIECE = 2  # places of an unordered history that meet in one batch: 2 move a user's own vector most often


@dataclass(frozen=True)
class Recipe:
    """What training needs to know and the config may leave open."""

    model: ModelSpec
    piece: int | None  # places of a history that are pooled at once in training
    negative_exponent: float
    mask_history: bool
    batch_tokens: int
    learning_rate: float
    weight_decay: float
    epochs: int
    refit: bool


def resolve(config: Config, encoder: Encoder, histories: Jagged) -> Recipe:
    """Fill what the config leaves open; what it names is taken as it is.

    Raises InputError where settings do not go together.
    """
    ordered = config.data.time is not None
    dense = len(histories.values) > DENSE_EVENTS * encoder.num_trained
    crowded = len(histories.values) > CROWDED * len(histories) * encoder.num_trained
    model, training = config.model, config.training

    history: Literal["transformer", "pooling"] = choose(model.history, "transformer" if ordered else "pooling")
    pooling = history == "pooling"
    own_vectors = pooling and any(transform.name == OWN_ID.name for transform in encoder.user_transforms)
    if pooling and model.max_history < 2:
        raise InputError("model.max_history = 1 leaves a pooled history nothing but its target; expected 2 or more")
    # what an own vector holds is not bounded by what a history tells: four times the width is still worth it
    embedding_dim = choose(model.embedding_dim, 256 if own_vectors else 64)
    if not pooling and embedding_dim % (2 * model.num_heads):
        raise InputError(
            f"model.embedding_dim = {embedding_dim} does not divide into model.num_heads = {model.num_heads} "
            f"heads of even width; expected a multiple of {2 * model.num_heads}"
        )
    similarity: Literal["dot", "cosine"] = choose(model.similarity, "cosine" if pooling else "dot")
    # vectors that start at the log's spectrum have little way to go; a sparse log is learned by heart before long
    epochs = 70 if own_vectors else (60 if dense else 100) if pooling else 40 if dense else 30
    spec = ModelSpec(
        num_rows=encoder.num_trained + 1,
        item_transforms=encoder.item_transforms,
        user_transforms=encoder.user_transforms,
        embedding_dim=embedding_dim,
        # what two transformers see in a history differs enough that their mean is better than either
        num_members=choose(model.num_members, 1 if pooling else 2),
        history=history,
        own_vectors=own_vectors,
        similarity=similarity,
        num_layers=model.num_layers,
        num_heads=model.num_heads,
        max_history=model.max_history,
        # sparse logs over-fit: .5 on 13 events an item (amazon-beauty), .3 on 44 (ml-100k) and 290 (ml-1m)
        dropout=choose(model.dropout, 0.1 if own_vectors else 0.2 if pooling else 0.3 if dense else 0.5),
        # with metadata, an item must be placed without its id now and then, or cold items land nowhere
        id_dropout=choose(model.id_dropout, 0.1 if encoder.item_transforms else 0.0),
        # a user of whom nothing but the history is known must be served, too; own vectors have FoldIn for that
        user_dropout=choose(model.user_dropout, 0.15 if encoder.user_transforms and not own_vectors else 0.0),
        # unit vectors differ by 2 at most: the softmax needs them scaled up, less so where popularity says much
        temperature=choose(config.loss.temperature, 1.0 if similarity == "dot" else 0.2 if crowded else 0.08),
        learn_temperature=config.loss.learn_temperature,
    )
    return Recipe(
        model=spec,
        # a user's own vector should be moved more often than once an epoch
        piece=PIECE if own_vectors else None,
        negative_exponent=choose(config.loss.negative_exponent, 1.22 if similarity == "cosine" else 1.0),
        # an item that the user has is no negative; with an order, any item but the next is one
        mask_history=choose(config.loss.mask_history, pooling and crowded),
        # frequent steps learn in fewer epochs; a sparse log, whose batches hold more users, needs them most
        batch_tokens=choose(training.batch_tokens, 4096 if pooling else 2048 if dense else 1024),
        # without an order to learn, a pooled model memorises: strong decoupled decay holds it back
        weight_decay=choose(training.weight_decay, 1.0 if pooling and not own_vectors else 0.0),
        # three times the usual step learns in half the epochs; what it gains and costs: docs/LOG.md, 2026-11-28
        learning_rate=choose(training.learning_rate, 2e-3 if own_vectors else 1e-3 if pooling else 3e-3),
        epochs=choose(training.epochs, epochs),
        # what was held out of a given training file belongs to it; elsewhere published protocols leave it out
        refit=choose(training.refit, config.split.kind == "given"),
    )


def settled(config: Config, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The config's sections with what it leaves open as chosen for the data."""
    chosen = {**asdict(recipe), **asdict(recipe.model), "user_id": config.embeds_users}
    return {
        section: {key: chosen.get(key) if value is None else value for key, value in values.items()}
        for section, values in config.model_dump(mode="json").items()
    }


def choose(given: Value | None, default: Value) -> Value:
    """What the config names, else the default."""
    return default if given is None else given
