"""When a training is saved: often enough to lose little, seldom enough to cost little."""

import logging
import time
from pathlib import Path

from recsys.model import TwoTower

from ..sharding import World
from ..state import TrainingState
from . import checkpoint
from .checkpoint import Checkpoint, Identity

INTERVAL = 15 * 60.0  # seconds between two checkpoints within an epoch
SHARE = 50  # a checkpoint may take one part in so many of the time
CHEAP = 1.0  # seconds: a checkpoint that takes less is written after every epoch
AGREE_EVERY = 64  # steps after which several processes agree on whether to save

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
        checkpoint.restore(self._state, saved)
        progress = saved.progress
        within = f", step {progress.partial.steps:,} of the next" if progress.partial.steps else ""
        logger.info("resuming after epoch %d%s", progress.epoch, within)

    def after_step(self) -> None:
        """Save within an epoch, if the last checkpoint is old enough."""
        if self._world.size > 1 and self._state.progress.steps % AGREE_EVERY:
            return
        if self._world.broadcast(lambda: float(self._age() > max(INTERVAL, SHARE * self._cost))):
            self._save()

    def finish_epoch(self, *, last: bool) -> None:
        """Save after an epoch, unless that would cost too much; after the last one always."""
        if last or self._world.broadcast(lambda: float(self._cost < CHEAP or self._age() > SHARE * self._cost)):
            self._save()

    def save_best(self, model: TwoTower) -> None:
        """Write the averaged weights of an epoch that is the best so far."""
        if self._world.rank == 0:
            weights = checkpoint.grouped(model=model.state_dict())
            best = checkpoint.best_file(self._path, self._state.progress.best_epoch)
            checkpoint.save(best, Checkpoint(weights, self._state.progress, self._identity))

    def _age(self) -> float:
        return time.monotonic() - self._saved_at

    def _save(self) -> None:
        started = time.monotonic()
        saved = checkpoint.snapshot(self._state, self._identity)
        if self._world.rank == 0:
            checkpoint.save(self._path, saved)
            best = checkpoint.best_file(self._path, self._state.progress.best_epoch)
            for other in self._path.parent.glob(f"{self._path.stem}-best-*.safetensors"):
                if other != best:
                    other.unlink()
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started
