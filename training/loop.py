"""The training loop: from a dataset and a configuration to the weights that serve."""

import gc
import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from recsys.config import Config
from recsys.data import Dataset
from recsys.errors import InputError
from recsys.model import TwoTower
from recsys.progress import stage, track

from . import sharded_validation, validation
from .batches import Loader, make_loader, steps_on
from .checkpoints import Checkpoint, Identity, Saver, checkpoint, load_whole
from .description import TrainingDescription
from .device import choose_device, use_deterministic_algorithms
from .learning_curve import EpochResult, Progress
from .memory import require_memory
from .objective import Objective
from .own_vectors import fit_fold_in, start_at_singular_vectors
from .pretrained import begins_as_encoder, best_share, interpolated, start_at_encoders
from .sharding import Processes, State, TableOptimizer, World, make_plan, process_group, shard, shares
from .state import TrainingState
from .validation import ValidationSet

logger = logging.getLogger(__name__)

DECAY_SHARE = 0.4  # the learning rate falls over this last part of the epochs

CPU = torch.device("cpu")
OnEpoch = Callable[[EpochResult], None]


def train(
    config: Config, dataset: Dataset, out: Path, *, resume: bool = False, on_epoch: OnEpoch | None = None
) -> None:
    """Train a model and write it into a run folder.

    ``model.safetensors`` gets the averaged weights of the epoch with the best validation NDCG@10, and
    ``training.json`` the description. With ``training.refit``, the weights come from a second training instead: on the
    validation events too, for as many epochs as were best. Of pairs, ``validated.safetensors`` then has the weights
    that have not seen the validation events, on which publishing chooses how words are weighed.

    Args:
        config: What to train, and how.
        dataset: What ``build`` made of the events.
        out: The run folder. Its checkpoint is replaced as training/checkpoints/saver.py decides.
        resume: Whether to continue a training that was interrupted there; see training/checkpoints/checkpoint.py.
        on_epoch: Called in the first process with the result of every epoch, after the checkpoint, if one is due.
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
        if not world.sharded:
            require_memory(training.recipe.model, dataset.encoder.num_items, device, config.training.memory)
        validated = fit(training, path, world, device, queries, on_epoch=on_epoch)
        best, trained_on, share = checkpoint.best_file(path, validated.best_epoch), training, 1.0
        if begins_as_encoder(training.recipe.model):
            share = world.broadcast(partial(share_of_training, training, best, queries, device))
        if training.recipe.refit and share:
            if world.rank == 0 and training.recipe.model.shared:
                save_weights(out / checkpoint.VALIDATED, training, best, share, validated)
            epochs, events = validated.best_epoch, replace(dataset, with_validation=True)
            logger.info("refit on training and validation events, %d epochs", epochs)
            trained_on = replace(training, dataset=events, recipe=replace(training.recipe, epochs=epochs))
            refitted = out / checkpoint.refit_file(epochs)
            refit = fit(trained_on, refitted, world, device, on_epoch=on_epoch)
            best = checkpoint.best_file(refitted, refit.best_epoch)
        if world.rank == 0:
            gc.collect()  # the model in training refers to itself, and might not fit beside another
            save_weights(out / checkpoint.WEIGHTS, trained_on, best, share, validated)
            training.write(out)


def share_of_training(training: TrainingDescription, best: Path, queries: ValidationSet, device: torch.device) -> float:
    """How much of the training is kept; see ``best_share``."""
    start, weights = start_of(training).state_dict(), load_whole(best).group("model")
    return best_share(training, start, weights, queries, device)


def save_weights(path: Path, training: TrainingDescription, best: Path, share: float, validated: Progress) -> None:
    """Write the best weights, with all that is decided after the last step.

    share: of the way from the start to the best weights, see ``best_share``. validated: the learning curve.
    """
    weights = load_whole(best).group("model")
    if share < 1:
        weights = interpolated(start_of(training).state_dict(), weights, share)
    if training.recipe.model.own_vectors:
        weights = with_fold_in(TwoTower(training.recipe.model), weights, training.dataset)
    identity = Identity.of(training.config, training.dataset)
    checkpoint.save(path, Checkpoint(checkpoint.grouped(model=weights), validated, identity))


def fit(
    training: TrainingDescription,
    path: Path,
    world: World,
    device: torch.device,
    queries: ValidationSet | None = None,
    *,
    on_epoch: OnEpoch | None = None,
) -> Progress:
    """Train until the epochs are over or the patience is exhausted, and leave the best weights in ``best_file``.

    Args:
        training: What to train, and how.
        path: The checkpoint, from which the training continues if it is there.
        world: The processes.
        device: Where the model is.
        queries: What to validate on. Without any, the last weights are the best.
        on_epoch: See ``train``.
    """
    recipe, settings = training.recipe, training.config.training
    gc.collect()  # a refit's predecessor refers to itself, and might not fit beside another model
    loader = make_loader(training, world)
    torch.manual_seed(settings.seed)
    state = TrainingState(
        initial_model(training, world, device), recipe.learning_rate, recipe.weight_decay, settings.average_decay
    )
    saver = Saver(path, state, Identity.of(training.config, training.dataset), world)
    saver.resume()
    objective = Objective(training, loader, device)
    while not is_over(state.progress, recipe.epochs, settings.patience):
        epoch = state.progress.epoch + 1
        state.scale_learning_rate(learning_rate_factor(epoch, recipe.epochs))
        run_epoch(state, objective, loader, saver, f"epoch {epoch}/{recipe.epochs}", device)
        with state.averaged_model() as model:
            score = None if queries is None else validate(model, queries, loader, training.dataset, device, world)
            result = state.finish_epoch(score)
            if result.best and (queries is not None or epoch == recipe.epochs):
                saver.save_best(model)
        saver.finish_epoch(last=is_over(state.progress, recipe.epochs, settings.patience))
        if world.rank == 0:
            logger.info(epoch_line(result, recipe.epochs))
            if on_epoch is not None:
                on_epoch(result)
    return state.progress


def is_over(progress: Progress, epochs: int, patience: int) -> bool:
    """Whether no epoch is to follow: all are done, or as many as ``patience`` have brought nothing better."""
    return progress.epoch >= epochs or progress.epoch - progress.best_epoch >= patience


def initial_model(training: TrainingDescription, world: World, device: torch.device) -> nn.Module:
    """The model before its first step; if the world needs it, divided among its processes."""
    if not world.sharded:
        return start_of(training, device)
    recipe, settings = training.recipe, training.config.training
    has_start = recipe.model.own_vectors or begins_as_encoder(recipe.model)
    start = start_of(training).state_dict() if has_start else None
    model = TwoTower(recipe.model, torchrec=True)
    start_at_encoders(model, training.dataset)
    optimizer = TableOptimizer(
        settings.table_optimizer, recipe.learning_rate, recipe.weight_decay, averaged=settings.average_decay > 0
    )
    lookups = 1 + 2 * recipe.batch_tokens // world.size + training.config.loss.num_negatives
    processes = Processes.of(world, device, settings.memory)
    plan = world.broadcast(partial(make_plan, model, optimizer, processes, lookups))
    for rank, share in enumerate(shares(plan, optimizer, world.size) if not world.rank else ()):
        logger.info("process %d holds %s", rank, share)
    return shard(model, plan, optimizer, device, settings.seed, start)


def start_of(training: TrainingDescription, device: torch.device = CPU) -> TwoTower:
    """The whole model before its first step, the same whenever it is asked for."""
    torch.manual_seed(training.config.training.seed)
    model = TwoTower(training.recipe.model).to(device)
    if training.recipe.model.own_vectors:
        start_at_singular_vectors(model, training.dataset, seed=training.config.training.seed)
    start_at_encoders(model, training.dataset)
    return model


def validate(
    model: TwoTower, queries: ValidationSet, loader: Loader, dataset: Dataset, device: torch.device, world: World
) -> float:
    """NDCG@10 on the validation queries, in all processes."""
    num_items = dataset.encoder.num_items
    if world.sharded:
        return sharded_validation.score(model, queries, loader, num_items, device, world)
    return validation.score(model, queries, loader, num_items, device)


def run_epoch(
    state: TrainingState, objective: Objective, loader: Loader, saver: Saver, label: str, device: torch.device
) -> None:
    """Take the remaining steps of an epoch."""
    state.model.train()
    epoch = loader.epoch(state.progress.epoch + 1, start=state.progress.partial.steps)
    with closing(steps_on(device, epoch)) as steps:
        for step in track(steps, label, len(epoch)):
            started = time.perf_counter()
            torch.manual_seed(step.seed)
            state.step(objective(state.model, step))
            state.count(len(step.labels) * loader.world_size, time.perf_counter() - started)
            saver.after_step()


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
