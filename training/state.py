"""What a training carries from step to step: weights, their running average, the best so far, the optimiser."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import checkpoint
from .checkpoint import Checkpoint, Identity, grouped
from .learning_curve import EpochResult, Progress
from .sharding import State, dense_weights, load_table_optimizer, load_whole, whole_state, whole_table_optimizer

OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")
TEMPERATURE = "log_temperature"  # not decayed: that would pull a learned temperature to 1


class TrainingState:
    """The model being trained, plain or sharded, and everything a resume needs to go on with the same bits."""

    def __init__(self, model: nn.Module, learning_rate: float, weight_decay: float, average_decay: float) -> None:
        self.model = model
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.dense = dense_weights(model)
        groups: list[dict[str, Any]] = [
            {"params": [weight for name, weight in self.dense.items() if name != TEMPERATURE]},
            {"params": [weight for name, weight in self.dense.items() if name == TEMPERATURE], "weight_decay": 0.0},
        ]
        self.learning_rate = learning_rate
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.average_decay = average_decay
        self.best: State = {}
        self.progress = Progress()

    def step(self, loss: Tensor) -> None:
        """One optimiser step and one of the average, whose decay grows from 0: early weights are soon forgotten."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
        self.optimizer.step()
        self.progress = replace(self.progress, steps=self.progress.steps + 1)
        decay = min(self.average_decay, (1 + self.progress.steps) / (10 + self.progress.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.weights.values()), 1 - decay)

    def scale_learning_rate(self, factor: float) -> None:
        """Set the rate to ``factor`` times the one asked for; sharded tables are left to Adagrad's own decay."""
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.learning_rate

    def averaged(self) -> State:
        """The whole state with the averaged weights, for a plain model to load."""
        trained = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self._assign(self.average)
        averaged = whole_state(self.model)
        self._assign(trained)
        return averaged

    def record(self, averaged: State, *, loss: float, score: float | None, seconds: float, tokens: int) -> EpochResult:
        """Note an epoch's figures, and keep the averaged weights if its score is the best so far.

        Without a score, the latest epoch is the best.
        """
        self.progress = self.progress.after(loss=loss, score=score, seconds=seconds, tokens=tokens)
        result = self.progress.epochs[-1]
        if result.best:
            self.best = averaged
        return result

    def checkpoint(self, averaged: State, identity: Identity) -> Checkpoint:
        """The whole state; all processes must ask for it, one writes it."""
        optimizer = {
            f"{name}.{key}": self.optimizer.state[weight][key] for name, weight in self.dense.items()
            for key in OPTIMIZER_STATE if weight in self.optimizer.state
        }  # fmt: skip
        tensors = grouped(
            model=whole_state(self.model), average=averaged, best=self.best, optimizer=optimizer,
            tables=whole_table_optimizer(self.model),
        )  # fmt: skip
        return Checkpoint(tensors, self.progress, identity)

    def restore(self, path: Path, identity: Identity) -> None:
        """Take the state up again; raises InputError where it belongs to another training."""
        saved = checkpoint.load(path, identity)
        load_whole(self.model, saved.group("average"))
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}
        load_whole(self.model, saved.group("model"))
        load_table_optimizer(self.model, saved.group("tables"))
        self.best = saved.group("best")
        optimizer = saved.group("optimizer")
        for name, weight in self.dense.items():
            if f"{name}.step" in optimizer:
                self.optimizer.state[weight] = {
                    key: optimizer[f"{name}.{key}"].to(weight.device) for key in OPTIMIZER_STATE
                }
        self.progress = saved.progress

    @torch.no_grad()
    def _assign(self, values: dict[str, Tensor]) -> None:
        torch._foreach_copy_(list(self.weights.values()), [values[name] for name in self.weights])
