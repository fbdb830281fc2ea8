"""The training loop: from a dataset and a configuration to the weights that serve."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from recsys.config import Config
from recsys.data import Dataset
from recsys.errors import InputError
from recsys.model import TwoTower
from recsys.progress import stage, track

from . import checkpoint, validation
from .checkpoint import Checkpoint, Identity
from .description import TrainingDescription
from .device import choose_device, use_deterministic_algorithms
from .learning_curve import EpochResult
from .loader import Loader, make_loader
from .objective import Objective
from .own_vectors import fit_fold_in, start_at_singular_vectors
from .sharding import State, World, process_group, shard
from .state import TrainingState
from .validation import ValidationSet

logger = logging.getLogger(__name__)

DECAY_SHARE = 0.4  # the learning rate falls over this last part of the epochs

OnEpoch = Callable[[EpochResult], None]


def train(
    config: Config, dataset: Dataset, out: Path, *, resume: bool = False, on_epoch: OnEpoch | None = None
) -> None:
    """Train a model and write it into a run folder.

    ``model.safetensors`` gets the averaged weights of the epoch with the best validation NDCG@10, and
    ``training.json`` the description. With ``training.refit``, the weights come from a second training instead: on the
    validation events too, for as many epochs as were best.

    Args:
        config: What to train, and how.
        dataset: What ``build`` made of the events.
        out: The run folder. After every epoch its checkpoint is replaced.
        resume: Whether to continue a training that was interrupted there; see training/checkpoint.py.
        on_epoch: Called in the first process with the result of every epoch, once its checkpoint is written.
            The epochs of a refit follow, numbered from 1 and without a score.

    Raises:
        InputError: If ``out`` holds another training, if this one is there and ``resume`` is not set, or if nothing can
            be learned from the data.
    """
    use_deterministic_algorithms()
    device = choose_device(config.training.device)
    training = TrainingDescription.of(config, dataset)
    queries = validation.validation_set(dataset, seed=config.training.seed)
    validation.require_answerable(dataset)
    path = out / checkpoint.CHECKPOINT
    if path.exists() and not resume:
        raise InputError(f"{out} holds a training already; pass --resume to continue it, or choose another --out")
    with process_group(config.training.table_optimizer, device) as world, stage("train"):
        validated = fit(training, path, world, device, queries, on_epoch=on_epoch)
        weights, events = validated.best, dataset
        if training.recipe.refit:
            epochs, events = validated.progress.best_epoch, replace(dataset, with_validation=True)
            logger.info("refit on training and validation events, %d epochs", epochs)
            refit = replace(training, dataset=events, recipe=replace(training.recipe, epochs=epochs))
            weights = fit(refit, out / checkpoint.refit_file(epochs), world, device, on_epoch=on_epoch).best
        if world.rank == 0:
            if training.recipe.model.own_vectors:
                weights = with_fold_in(TwoTower(training.recipe.model), weights, events)
            trained = Checkpoint(checkpoint.grouped(model=weights), validated.progress, Identity.of(config, dataset))
            checkpoint.save(out / checkpoint.WEIGHTS, trained)
            training.write(out)


def fit(
    training: TrainingDescription,
    path: Path,
    world: World,
    device: torch.device,
    queries: ValidationSet | None = None,
    *,
    on_epoch: OnEpoch | None = None,
) -> TrainingState:
    """Train until the epochs are over or the patience is exhausted.

    Args:
        training: What to train, and how.
        path: The checkpoint, from which the training continues if it is there.
        world: The processes.
        device: Where the model is.
        queries: What to validate on. Without any, the last weights are the best.
        on_epoch: See ``train``.
    """
    recipe, settings = training.recipe, training.config.training
    identity = Identity.of(training.config, training.dataset)
    loader = make_loader(training, world)
    torch.manual_seed(settings.seed)
    evaluated = TwoTower(recipe.model).to(device).eval()
    state = TrainingState(
        initial_model(training, world, device), recipe.learning_rate, recipe.weight_decay, settings.average_decay
    )
    objective = Objective(training, loader, device)
    if path.exists():
        checkpoint.restore(state, checkpoint.load(path, identity))
        logger.info("resuming after epoch %d", state.progress.epoch)
    for epoch in range(state.progress.epoch + 1, recipe.epochs + 1):
        if state.progress.epoch - state.progress.best_epoch >= settings.patience:
            break
        state.scale_learning_rate(learning_rate_factor(epoch, recipe.epochs))
        figures = run_epoch(state, objective, loader, epoch, f"epoch {epoch}/{recipe.epochs}", device)
        averaged, score = state.averaged(), None
        if queries is not None:
            evaluated.load_state_dict(averaged)
            num_items = training.dataset.encoder.num_items
            score = world.broadcast(partial(validation.score, evaluated, queries, loader, num_items, device))
        result = state.record(averaged, score=score, **asdict(figures))
        saved = checkpoint.snapshot(state, averaged, identity)
        if world.rank == 0:
            checkpoint.save(path, saved)
            logger.info(epoch_line(result, recipe.epochs))
            if on_epoch is not None:
                on_epoch(result)
    return state


def initial_model(training: TrainingDescription, world: World, device: torch.device) -> nn.Module:
    """The model before its first step, wrapped for sharding if the world needs it."""
    spec, settings = training.recipe.model, training.config.training
    model = TwoTower(spec, torchrec=world.sharded).to(device)
    if spec.own_vectors:
        start_at_singular_vectors(model, training.dataset, seed=settings.seed)
    if not world.sharded:
        return model
    return shard(model, settings.table_optimizer, training.recipe.learning_rate, device)


@dataclass(frozen=True)
class EpochFigures:
    """The mean loss of an epoch's steps, their seconds, and how many tokens all processes predicted."""

    loss: float
    seconds: float
    tokens: int


def run_epoch(
    state: TrainingState, objective: Objective, loader: Loader, epoch: int, label: str, device: torch.device
) -> EpochFigures:
    """Take every step of an epoch. Raises InputError if a loss is not finite, before it changes any weight."""
    torch.manual_seed(int(np.random.default_rng((loader.seed, epoch, loader.rank)).integers(1 << 62)))
    started, losses, num_tokens = time.perf_counter(), [], 0
    state.model.train()
    for step in track(loader.epoch(epoch), label):
        loss = objective(state.model, step.to(device))
        if not torch.isfinite(loss):
            raise InputError(f"the loss is {loss.item()} in epoch {epoch}; lower training.learning_rate")
        state.step(loss)
        losses.append(loss.detach())
        num_tokens += len(step.labels)
    seconds = time.perf_counter() - started
    return EpochFigures(float(torch.stack(losses).mean()), seconds, loader.world_size * num_tokens)


def learning_rate_factor(epoch: int, epochs: int) -> float:
    """The factor of the learning rate in an epoch, counted from 1.

    It is 1 until the last DECAY_SHARE of the epochs, and then falls linearly to just above 0. So a training resumed for
    more epochs differs from one that had as many from the start.
    """
    num_falling = max(1, round(DECAY_SHARE * epochs))
    return min(1.0, (epochs - epoch + 1) / (num_falling + 1))


def epoch_line(result: EpochResult, epochs: int) -> str:
    """An epoch's result as one line of the log."""
    best = " (best so far)" if result.best else ""
    validated = "" if result.score is None else f"validation NDCG@10 {result.score:.4f}{best}, "
    speed = result.tokens / result.seconds
    return f"epoch {result.epoch}/{epochs}: loss {result.loss:.4f}, {validated}{speed:,.0f} tokens/s"


def with_fold_in(model: TwoTower, weights: State, dataset: Dataset) -> State:
    """The weights, completed by what estimates a new user's own vector (training/own_vectors.py)."""
    model.load_state_dict(weights)
    fit_fold_in(model.eval(), dataset)
    return model.state_dict()
