"""What a training carries from step to step: weights, optimizers, running averages, and how far it has come.

How it is saved and resumed is in training/checkpoints/checkpoint.py.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from recsys.errors import InputError
from recsys.model import EmbeddingTable, TrainBatch, TwoTower

from .learning_curve import EpochResult, Progress
from .row_adamw import RowAdamW
from .sharding import ShardedTables, State, dense_state

TEMPERATURE = "log_temperature"  # has no weight decay, which would pull a learned temperature to 1


class TrainingState:
    """The model being trained, plain or sharded, with everything that its next step depends on.

    Embedding tables are stepped row by row (``tables``), everything else as a whole (``optimizer``). Sharded tables are
    stepped by TorchRec while gradients are computed. Of these a process holds only its part, of everything else all.

    Args:
        model: The model, in training.
        learning_rate: AdamW's, until ``scale_learning_rate`` changes it.
        weight_decay: AdamW's, decoupled.
        average_decay: Share of the running average that a late step keeps.
    """

    def __init__(self, model: nn.Module, learning_rate: float, weight_decay: float, average_decay: float) -> None:
        self.model = model
        tables = {f"{name}.weight": part for name, part in model.named_modules() if isinstance(part, EmbeddingTable)}
        self.tables: RowAdamW | ShardedTables
        if isinstance(model, TwoTower):
            self.tables = RowAdamW(tables, next(model.parameters()).device)
            if self.tables.device.type != "cpu":  # there, few operations matter more than short ones
                model.register_forward_pre_hook(partial(_read_rows, self.tables))
        else:
            self.tables = ShardedTables(model, averaged=average_decay > 0)
        whole = dense_state(model).keys() - tables.keys()
        weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.dense = {name: weight for name, weight in weights.items() if name in whole}
        self.average = {name: weight.detach().clone() for name, weight in self.dense.items()}
        groups: list[dict[str, Any]] = [
            {"params": [weight for name, weight in self.dense.items() if name != TEMPERATURE]},
            {"params": [weight for name, weight in self.dense.items() if name == TEMPERATURE], "weight_decay": 0.0},
        ]
        self.learning_rate = learning_rate
        self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
        self.average_decay = average_decay
        self.progress = Progress()
        self.loss = torch.zeros((), dtype=torch.float64, device=self.tables.device)

    def step(self, loss: Tensor) -> None:
        """Take one optimizer step, and move the running average towards the new weights.

        The average's decay grows from near 0 to ``average_decay``, so that early weights are soon forgotten.
        """
        self.loss += loss.detach()  # where it is: reading it would keep a GPU waiting
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
        self.optimizer.step()
        steps = self.progress.steps + 1
        self.progress = replace(self.progress, steps=steps)
        decay = min(self.average_decay, (1 + steps) / (10 + steps))
        settings = self.optimizer.param_groups[0]
        with torch.no_grad():
            if self.average:  # a model can be nothing but tables
                torch._foreach_lerp_(list(self.average.values()), list(self.dense.values()), 1 - decay)
            self.tables.step(settings["lr"], settings["weight_decay"], decay)

    def count(self, tokens: int, seconds: float) -> None:
        """Note what a step has done: tokens predicted by all processes, and the time it took."""
        partial = self.progress.partial
        partial = replace(
            partial, steps=partial.steps + 1, tokens=partial.tokens + tokens, seconds=partial.seconds + seconds
        )
        self.progress = replace(self.progress, partial=partial)

    def progress_now(self) -> Progress:
        """The progress with the running epoch's loss.

        Raises:
            InputError: The loss is not finite: the weights are not worth keeping.
        """
        loss = self.loss.item()
        if not math.isfinite(loss):
            raise InputError(f"the loss is {loss} in epoch {self.progress.epoch + 1}; lower training.learning_rate")
        return replace(self.progress, partial=replace(self.progress.partial, loss=loss))

    def finish_epoch(self, score: float | None) -> EpochResult:
        """Note an epoch's figures. Without a score, the latest epoch is the best."""
        partial = self.progress.partial
        self.progress = self.progress.after(
            loss=partial.loss / partial.steps, score=score, seconds=partial.seconds, tokens=partial.tokens
        )
        self.loss.zero_()
        return self.progress.epochs[-1]

    def scale_learning_rate(self, factor: float) -> None:
        """Set AdamW's learning rate to ``factor`` times the initial one."""
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.learning_rate
        if isinstance(self.tables, ShardedTables):
            self.tables.set_learning_rate(factor * self.learning_rate)

    @contextmanager
    def averaged_model(self) -> Iterator[TwoTower]:
        """The model with the averaged weights, for evaluation; nothing may be trained meanwhile.

        It is no copy, which might not fit into memory. If its tables are sharded, every process must compute with it at
        the same time.
        """
        self.progress = self.progress_now()
        self.tables.settle()
        with self._averages_in_place():
            yield self._two_tower().eval()
        self.model.train()

    def whole(self) -> State:
        """The model's state as trained (not averaged), as references rather than copies, and without sharded tables."""
        return dense_state(self.model)

    def whole_average(self) -> State:
        """The running averages, likewise without copies and without sharded tables."""
        if isinstance(self.tables, ShardedTables):
            return self.average
        return self.average | self.tables.averages()

    @torch.no_grad()
    def restore(self, weights: State, averages: State) -> None:
        """Copy what ``whole`` and ``whole_average`` returned."""
        for targets, values in ((self.whole_average(), averages), (self.whole(), weights)):
            for name, target in targets.items():
                target.copy_(values[name])

    def _two_tower(self) -> TwoTower:
        model = self.model if isinstance(self.model, TwoTower) else self.model.module
        assert isinstance(model, TwoTower)  # which DMP has wrapped
        return model

    @contextmanager
    def _averages_in_place(self) -> Iterator[None]:
        """Let the model hold the averages in place of its weights."""
        trained = {name: weight.detach().clone() for name, weight in self.dense.items()}
        self._assign(self.average)
        self.tables.swap_averages()
        try:
            yield
        finally:
            self._assign(trained)
            self.tables.swap_averages()

    @torch.no_grad()
    def _assign(self, values: State) -> None:
        for name, weight in self.dense.items():
            weight.copy_(values[name])


def _read_rows(tables: RowAdamW, model: TwoTower, arguments: tuple[TrainBatch]) -> None:
    """Before a forward pass in training: read all rows of all tables at once."""
    if model.training:
        tables.read(model.lookups(*arguments))
