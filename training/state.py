"""What a training carries from step to step: weights, their running average, the best so far, the optimiser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recsys.model import TwoTower

from . import checkpoint
from .checkpoint import Checkpoint, Progress, grouped

OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")
TEMPERATURE = "log_temperature"  # not decayed: that would pull a learned temperature to 1


class TrainingState:
    """The model being trained and everything a resume needs to go on with the same bits."""

    def __init__(self, model: TwoTower, learning_rate: float, weight_decay: float, average_decay: float) -> None:
        self.model = model
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        groups = [
            {"params": [weight for name, weight in self.weights.items() if name != TEMPERATURE]},
            {"params": [weight for name, weight in self.weights.items() if name == TEMPERATURE], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.average_decay = average_decay
        self.best = self._snapshot()
        self.progress = Progress()

    def step(self, loss: Tensor) -> None:
        """One optimiser step and one of the average, whose decay grows from 0: early weights are soon forgotten."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
        self.optimizer.step()
        self.progress.steps += 1
        decay = min(self.average_decay, (1 + self.progress.steps) / (10 + self.progress.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.weights.values()), 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[TwoTower]:
        """The model with the averaged weights in place, in evaluation mode."""
        trained = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self._load(self.average)
        self.model.eval()
        try:
            yield self.model
        finally:
            self._load(trained)
            self.model.train()

    def record(self, score: float, **figures: float) -> bool:
        """Note an epoch's figures; keep the averaged weights where the score is the best so far, and say so."""
        self.progress.epoch += 1
        self.progress.history.append({"epoch": self.progress.epoch, "score": score, **figures})
        better = score > self.progress.best_score
        if better:
            self.progress.best_score, self.progress.best_epoch = score, self.progress.epoch
            with self.averaged():
                self.best = self._snapshot()
        return better

    def save(self, path: Path, identity: dict[str, Any]) -> None:
        """Write the whole state."""
        optimizer = {
            f"{name}.{key}": self.optimizer.state[weight][key] for name, weight in self.weights.items()
            for key in OPTIMIZER_STATE if weight in self.optimizer.state
        }  # fmt: skip
        tensors = grouped(model=self._snapshot(), average=self.average, best=self.best, optimizer=optimizer)
        checkpoint.save(path, Checkpoint(tensors, self.progress, identity))

    def restore(self, path: Path, identity: dict[str, Any]) -> None:
        """Take the state up again; raises ValueError where it belongs to another training."""
        saved = checkpoint.load(path, identity)
        self.model.load_state_dict(saved.group("model"))
        for name, value in saved.group("average").items():
            self.average[name].copy_(value)
        self.best = saved.group("best")
        optimizer = saved.group("optimizer")
        for name, weight in self.weights.items():
            if f"{name}.step" in optimizer:
                self.optimizer.state[weight] = {
                    key: optimizer[f"{name}.{key}"].to(weight.device if key != "step" else "cpu")
                    for key in OPTIMIZER_STATE
                }
        self.progress = saved.progress

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    @torch.no_grad()
    def _load(self, values: dict[str, Tensor]) -> None:
        torch._foreach_copy_(list(self.weights.values()), [values[name] for name in self.weights])
