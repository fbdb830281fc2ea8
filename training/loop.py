"""The training loop: one readable function over built objects."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from recsys.config import Config
from recsys.data import Dataset, lookup_rows
from recsys.errors import InputError
from recsys.model import FeatureTable, ModelSpec, TwoTower
from recsys.progress import stage, track

from . import checkpoint, validation
from .description import TrainingDescription
from .learning_curve import EpochResult
from .loader import Loader
from .negatives import NegativeSampler
from .objective import Objective
from .own_vectors import fit_fold_in, start_at_spectrum
from .recipe import Recipe
from .sharding import ALONE, State, World, process_group, shard
from .state import TrainingState

logger = logging.getLogger(__name__)

DECAY_SHARE = 0.4  # of the epochs, the last ones


def train(
    config: Config,
    dataset: Dataset,
    out: Path,
    *,
    resume: bool = False,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> None:
    """Train to ``out/model.safetensors``: the averaged weights of the epoch with the best validation NDCG@10.

    With ``training.refit`` that epoch is the length of a second training, on validation's events too, whose weights are
    taken. After every epoch ``out/checkpoint.safetensors`` (``refit_path``) is replaced; with ``resume`` a
    killed training goes on from it and ends with the same bits. Raises InputError where ``out`` belongs to another
    training, or nothing can be learned.
    """
    be_deterministic()
    device = choose_device(config.training.device)
    training = TrainingDescription.of(config, dataset)
    queries = validation.validation_set(dataset, seed=config.training.seed)
    path = out / "checkpoint.safetensors"
    if path.exists() and not resume:
        raise InputError(f"{out} holds a training already; pass --resume to go on with it, or choose another --out")
    with (
        process_group(config.training.table_optimizer, device) as world,
        stage("train"),
    ):
        chosen = fit(training, path, world, device, queries, on_epoch=on_epoch)
        weights, refitted = chosen.best, training
        if training.recipe.refit:
            epochs = chosen.progress.best_epoch
            refitted = replace(
                training, recipe=replace(training.recipe, epochs=epochs), dataset=replace(dataset, with_validation=True)
            )
            logger.info("refit on training and validation events, %d epochs", epochs)
            weights = fit(refitted, refit_path(out, epochs), world, device, on_epoch=on_epoch).best
        if world.rank == 0:
            if training.recipe.model.own_vectors:
                weights = with_fold_in(training.recipe.model, weights, refitted.dataset)
            identity = checkpoint.Identity.of(config, dataset)
            best = checkpoint.Checkpoint(checkpoint.grouped(model=weights), chosen.progress, identity)
            checkpoint.save(out / "model.safetensors", best)
            training.write(out)


def with_fold_in(spec: ModelSpec, weights: State, dataset: Dataset) -> State:
    """The state of a trained model, which now knows what to make of a new user."""
    model = TwoTower(spec).eval()
    model.load_state_dict(weights)
    fit_fold_in(model, dataset)
    return model.state_dict()


def refit_path(out: Path, epochs: int) -> Path:
    """The state of a refit: one of another length is another training, not to be resumed."""
    return out / f"refit-{epochs}.safetensors"


def fit(
    training: TrainingDescription,
    path: Path,
    world: World,
    device: torch.device,
    queries: validation.ValidationSet | None = None,
    *,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> TrainingState:
    """Train from the state at ``path``, if one is there, for ``recipe.epochs``, or until the patience is at its end.

    Without ``queries`` nothing is validated, and the last weights are the best. The learning rate falls over the last
    epochs, so that a training of more epochs differs from one resumed for them.
    """
    config, recipe, dataset = training.config, training.recipe, training.dataset
    settings, identity = config.training, checkpoint.Identity.of(config, dataset)
    loader = make_loader(config, recipe, dataset, world)
    torch.manual_seed(settings.seed)
    evaluated = TwoTower(recipe.model).to(device).eval()
    plain = TwoTower(recipe.model, torchrec=world.sharded).to(device)
    if recipe.model.own_vectors:
        start_at_spectrum(plain, dataset, seed=settings.seed)
    model = shard(plain, settings.table_optimizer, recipe.learning_rate, device) if world.sharded else plain
    state = TrainingState(model, recipe.learning_rate, recipe.weight_decay, settings.average_decay)
    objective = Objective(config, recipe, dataset, loader, device)
    if path.exists():
        state.restore(path, identity)
        logger.info("resuming after epoch %d", state.progress.epoch)

    for epoch in range(state.progress.epoch + 1, recipe.epochs + 1):
        if state.progress.epoch - state.progress.best_epoch >= settings.patience:
            break
        torch.manual_seed(int(np.random.default_rng((settings.seed, epoch, world.rank)).integers(1 << 62)))
        started, losses, num_tokens = time.perf_counter(), [], 0
        state.scale_learning_rate(decay(epoch, recipe.epochs))
        model.train()
        for step in track(loader.epoch(epoch), f"epoch {epoch}/{recipe.epochs}"):
            loss = objective(model, step.to(device))
            if not torch.isfinite(loss):
                raise InputError(f"the loss is {loss.item()} in epoch {epoch}; lower training.learning_rate")
            state.step(loss)
            losses.append(loss.detach())
            num_tokens += len(step.labels)
        seconds = time.perf_counter() - started
        averaged = state.averaged()
        evaluated.load_state_dict(averaged)
        score = None
        if queries is not None:
            asked = partial(validation.score, evaluated, queries, loader, dataset.encoder.num_items, device)
            score = world.agreed(asked)
        loss_mean = float(torch.stack(losses).mean())
        result = state.record(averaged, loss=loss_mean, score=score, seconds=seconds, tokens=world.size * num_tokens)
        saved = state.checkpoint(averaged, identity)
        if world.rank == 0:
            checkpoint.save(path, saved)
        logger.info(epoch_line(result, recipe.epochs))
        if on_epoch is not None and world.rank == 0:
            on_epoch(result)
    return state


def epoch_line(result: EpochResult, epochs: int) -> str:
    """An epoch's result in one line."""
    best = " (best so far)" if result.best else ""
    validated = "" if result.score is None else f"validation NDCG@10 {result.score:.4f}{best}, "
    speed = result.tokens / result.seconds
    return f"epoch {result.epoch}/{epochs}: loss {result.loss:.4f}, {validated}{speed:,.0f} tokens/s"


def make_loader(config: Config, recipe: Recipe, dataset: Dataset, world: World = ALONE) -> Loader:
    """The loader over all users with two training events or more."""
    user_ids, histories = dataset.train()
    trainable = np.flatnonzero(histories.lengths >= 2)
    if not len(trainable):
        raise InputError("no user has two training events, so there is nothing to predict; expected a longer log")
    users, encoder = dataset.users(), dataset.encoder
    counts = dataset.item_counts[: encoder.num_trained + 1]
    return Loader(
        histories=histories.take(trainable),
        user_rows=lookup_rows(user_ids.gather(trainable), users.get_column("user_id"), offset=1).astype(np.int64),
        item_features=FeatureTable.from_frame(encoder.item_transforms, dataset.item_features()),
        user_features=FeatureTable.from_frame(encoder.user_transforms, users),
        sampler=NegativeSampler.from_counts(counts, config.loss.popularity_exponent),
        num_negatives=config.loss.num_negatives,
        batch_tokens=max(1, recipe.batch_tokens // world.size),
        max_history=recipe.model.max_history,
        causal=recipe.model.history == "transformer",
        piece=recipe.piece,
        seed=config.training.seed,
        rank=world.rank,
        world_size=world.size,
    )


def decay(epoch: int, epochs: int) -> float:
    """What the learning rate is multiplied by in an epoch, from 1: 1 until the last DECAY_SHARE of the epochs, then
    falling in a straight line, to end just above 0.
    """
    last = max(1, round(DECAY_SHARE * epochs))
    return min(1.0, (epochs - epoch + 1) / (last + 1))


def be_deterministic() -> None:
    """Same seed, same bits; call it before the first CUDA operation."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses
    torch.use_deterministic_algorithms(True)
    # a debugging aid that writes every new tensor twice
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # untyped


def choose_device(name: str) -> torch.device:
    """``auto`` is cuda where there is one. Raises InputError where cuda is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError('training.device = "cuda" but torch finds no GPU; use "auto" or "cpu"')
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
