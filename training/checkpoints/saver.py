"""When a training is saved: often enough to lose little, and rarely enough to cost little."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from recsys import files
from recsys.errors import InputError
from recsys.model import TwoTower

from ..sharding import ShardedTables, World, dense_state, weight_pieces
from ..state import TrainingState
from . import checkpoint, pieces
from .checkpoint import Checkpoint, Identity

INTERVAL = 15 * 60.0  # seconds between two checkpoints within an epoch
SHARE = 50  # writing checkpoints may take one fiftieth of the time
CHEAP = 1.0  # seconds: a checkpoint that takes less is written after every epoch
AGREE_EVERY = 64  # steps after which several processes agree whether to save

logger = logging.getLogger(__name__)


class Saver:
    """Writes the checkpoint of one training, and the weights of its best epoch."""

    def __init__(self, path: Path, state: TrainingState, identity: Identity, world: World) -> None:
        self._path, self._state, self._identity, self._world = path, state, identity, world
        self._saved_at, self._cost = time.monotonic(), 0.0

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one."""
        if not self._path.exists():
            return
        saved = checkpoint.load(self._path, self._identity)
        progress = saved.progress
        folder = pieces.folder_of(self._path, progress)
        if folder.exists() != self._world.sharded:
            saw, has = ("several processes", "one") if folder.exists() else ("one process", "several")
            raise InputError(
                f"{self._path} was written by a training in {saw}, and this one has {has}, whose AdamW keeps other "
                "numbers for a table; train in as many processes, or into another --out"
            )
        checkpoint.restore(self._state, saved)
        if isinstance(self._state.tables, ShardedTables):
            pieces.read(folder, self._state.tables)
        within = f", step {progress.partial.steps:,} of the next" if progress.partial.steps else ""
        logger.info("resuming after epoch %d%s", progress.epoch, within)

    def after_step(self) -> None:
        """Save within an epoch, if the last checkpoint is old enough."""
        if self._world.size > 1 and self._state.progress.steps % AGREE_EVERY:
            return
        if self._world.broadcast(lambda: self._age() > max(INTERVAL, SHARE * self._cost)):
            self._save()

    def finish_epoch(self, *, last: bool) -> None:
        """Save after an epoch, unless that would cost too much; after the last one always."""
        if last or self._world.broadcast(lambda: self._cost < CHEAP or self._age() > SHARE * self._cost):
            self._save()

    def save_best(self, model: TwoTower) -> None:
        """Write the averaged weights of an epoch that is the best so far. All processes must take part."""
        best = checkpoint.best_file(self._path, self._state.progress.best_epoch)
        if self._world.sharded:
            weights = [replace(piece, name=f"model.{piece.name}") for piece in weight_pieces(model)]
            pieces.write(pieces.folder_of(best, self._state.progress), weights, self._world)
        if self._world.rank == 0:
            tensors = checkpoint.grouped(model=dense_state(model))
            checkpoint.save(best, Checkpoint(tensors, self._state.progress, self._identity))

    def _age(self) -> float:
        return time.monotonic() - self._saved_at

    def _save(self) -> None:
        started = time.monotonic()
        saved = checkpoint.snapshot(self._state, self._identity)
        folder = pieces.folder_of(self._path, saved.progress)
        if isinstance(self._state.tables, ShardedTables):
            pieces.write(folder, self._state.tables.pieces(), self._world)
        if self._world.rank == 0:
            checkpoint.save(self._path, saved)
            best = checkpoint.best_file(self._path, self._state.progress.best_epoch)
            stale = [file for file in self._path.parent.glob(f"{self._path.stem}-best-*.safetensors") if file != best]
            folders = [other for other in pieces.folders_of(self._path) if other != folder]
            for other in stale + folders + [part for file in stale for part in pieces.folders_of(file)]:
                files.discard(other)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started
