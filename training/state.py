"""What a training carries from step to step: weights, optimizer, running average, and the best weights so far.

How it is saved and resumed is in training/checkpoint.py.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .learning_curve import EpochResult, Progress
from .sharding import State, dense_weights, gather_state

TEMPERATURE = "log_temperature"  # has no weight decay, which would pull a learned temperature to 1


class TrainingState:
    """The model being trained, plain or sharded, with everything that its next step depends on.

    Args:
        model: The model, in training.
        learning_rate: AdamW's, until ``scale_learning_rate`` changes it.
        weight_decay: AdamW's, decoupled.
        average_decay: Share of the running average that a late step keeps.
    """

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
        """Take one optimizer step, and move the running average towards the new weights.

        The average's decay grows from near 0 to ``average_decay``, so that early weights are soon forgotten.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
        self.optimizer.step()
        steps = self.progress.steps + 1
        self.progress = replace(self.progress, steps=steps)
        decay = min(self.average_decay, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.weights.values()), 1 - decay)

    def scale_learning_rate(self, factor: float) -> None:
        """Set AdamW's learning rate to ``factor`` times the initial one. Sharded tables keep Adagrad's own decay."""
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.learning_rate

    def averaged(self) -> State:
        """The model's whole state with the averaged weights in place of the trained ones, for a plain model."""
        trained = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self._assign(self.average)
        averaged = gather_state(self.model)
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

    @torch.no_grad()
    def _assign(self, values: dict[str, Tensor]) -> None:
        torch._foreach_copy_(list(self.weights.values()), [values[name] for name in self.weights])
