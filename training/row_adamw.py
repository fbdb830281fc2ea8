"""AdamW and the running average for embedding tables, at a cost that depends on the rows of the batch alone.

A dense optimizer visits every row of a table in every step, although most rows have no gradient: their moments decay,
their weights follow what is left of the momentum, and the running average follows the weights. All of that is known in
advance. So a row is left alone until a batch reads it again, and then takes all steps that it missed at once. The
result is AdamW's, up to rounding and to the effect of epsilon, which stays as it was in the row's last step. Only
``settle``, which an epoch ends with, visits every row.

A row that a batch last read in step s, its gradient included, has after a later step t

- moments ``m b1^n`` and ``v b2^n``, where n = t - s;
- weight ``W w - G u``, where u = m / (sqrt(v) + epsilon sqrt(1 - b2^s)), W is the product of the steps' weight decays
  and G = sum over the steps i of (the decays after i) * lr_i * sqrt(1 - b2^i) / (1 - b1^i) * (b1 / sqrt(b2))^(i - s);
- average ``D a + A w - H u``, where D is the product of the steps' average decays d_i, and A and H are the sums over
  the steps i of (1 - d_i) * (the average decays after i) * W_i, and of the same with G_i.

W, G, D, A and H depend on s and t but on no row, so ``MissedSteps`` keeps them for every s.

Shape suffixes: N rows of a table, U rows of a batch, D embedding_dim, S steps.
"""

import math
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from recsys.model import EmbeddingTable

from .sharding import State

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # AdamW's defaults (Loshchilov & Hutter 2019)
FORGOTTEN = 600  # steps after which a momentum has fallen to 1e-27
ROWS_AT_ONCE = 1 << 16  # that ``settle`` brings up to date
SAVED = ("exp_avg", "exp_avg_sq", "touched")  # beside weights and averages
MOMENTUM, MOVED, KEPT, AVERAGE_KEPT, AVERAGE_OF_WEIGHT, AVERAGE_OF_MOVED = range(6)


class MissedSteps:
    """What has happened since each step, in the notation of the module. Steps count from the last ``settle``.

    history_6S: float64; for rows touched in step 0, 1, ..., ``number``: (b1 / sqrt(b2))^n, G, W, D, A and H.
    """

    def __init__(self, device: torch.device) -> None:
        self.number = 0
        self.history_6S = torch.zeros(6, 1 << 10, dtype=torch.float64, device=device)
        self._start(self.history_6S)

    def add(self, step_size: float, shrink: float, average_decay: float) -> None:
        """Take a step. step_size: lr * sqrt(1 - b2^t) / (1 - b1^t). shrink: 1 - lr * weight_decay."""
        history = self.history_6S[:, : self.number + 1].unbind()
        decays = (BETA1 / math.sqrt(BETA2), shrink, shrink, average_decay, average_decay, average_decay)
        torch._foreach_mul_(history, decays)
        momentum, moved, kept, _, of_weight, of_moved = history
        if self.number > FORGOTTEN:  # denormal numbers are slow
            momentum[: self.number - FORGOTTEN] = 0.0
        moved.add_(momentum, alpha=step_size)
        of_weight.add_(kept, alpha=1 - average_decay)
        of_moved.add_(moved, alpha=1 - average_decay)
        self.number += 1
        if self.number == self.history_6S.shape[1]:
            more_6S = torch.zeros_like(self.history_6S)
            self._start(more_6S)
            self.history_6S = torch.cat([self.history_6S, more_6S], dim=1)

    @staticmethod
    def _start(history_6S: Tensor) -> None:
        """For rows touched just now."""
        for part in (MOMENTUM, KEPT, AVERAGE_KEPT):
            history_6S[part] = 1.0


class Rows:
    """Rows that a batch has read: weights, moments and averages, [U, D], brought up to date."""

    def __init__(self, rows: Tensor, weight: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, average: Tensor) -> None:
        self.rows, self.weight, self.average = rows, weight, average
        self.exp_avg, self.exp_avg_sq = exp_avg, exp_avg_sq

    def take_fused_step(self, gradient: Tensor, number: int, learning_rate: float, weight_decay: float) -> None:
        """AdamW's step, as one operation."""
        step = torch.full((), number, dtype=torch.float32, device=gradient.device)
        torch._fused_adamw_(
            [self.weight], [gradient], [self.exp_avg], [self.exp_avg_sq], [], [step], lr=learning_rate, beta1=BETA1,
            beta2=BETA2, weight_decay=weight_decay, eps=EPSILON, amsgrad=False, maximize=False,
        )  # fmt: skip


class Store:
    """Weights, moments, running averages and, for each row, the step in which it was last touched.

    The rows of all tables stand one after another, so that a step of several tables takes no more operations.
    """

    def __init__(self, weights: list[Tensor]) -> None:
        self.weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
        self.average = self.weight.clone()
        self.touched = torch.zeros(len(self.weight), dtype=torch.int32, device=self.weight.device)

    def gather(self, rows_U: Tensor, missed: MissedSteps, steps_before: int) -> Rows:
        """The rows after all steps that they missed. steps_before: those before the last ``settle``."""
        parts = (self.weight, self.exp_avg, self.exp_avg_sq, self.average)
        weight, exp_avg, exp_avg_sq, average = (part.index_select(0, rows_U) for part in parts)
        touched_U1 = self.touched.index_select(0, rows_U).unsqueeze(1)
        history_6U1 = missed.history_6S.index_select(1, touched_U1.squeeze(1)).to(weight.dtype).unsqueeze(2)
        _, moved, kept, average_kept, of_weight, of_moved = history_6U1
        late_U1 = (missed.number - touched_U1).to(weight.dtype)
        correction_U1 = 1 - BETA2 ** (touched_U1 + steps_before).clamp(min=1)
        unit = exp_avg / (exp_avg_sq.sqrt() + EPSILON * correction_U1.sqrt())
        average = average.mul_(average_kept).addcmul_(weight, of_weight).addcmul_(unit, of_moved, value=-1)
        weight = weight.mul_(kept).addcmul_(unit, moved, value=-1)
        return Rows(rows_U, weight, exp_avg.mul_(BETA1**late_U1), exp_avg_sq.mul_(BETA2**late_U1), average)

    def scatter(self, current: Rows, number: int) -> None:
        """Store rows as they are after step ``number``."""
        for name in ("weight", "exp_avg", "exp_avg_sq", "average"):
            getattr(self, name).index_copy_(0, current.rows, getattr(current, name))
        self.touched.index_fill_(0, current.rows, number)


class TableState:
    """One table's part of the store: its rows from ``start`` to ``end``."""

    def __init__(self, module: EmbeddingTable, store: Store, start: int) -> None:
        self.module, self.store, self.start, self.end = module, store, start, start + len(module.weight)

    def part(self, name: str) -> Tensor:
        """The table's part of an attribute of the store, without a copy."""
        whole: Tensor = getattr(self.store, name)
        return whole[self.start : self.end]


class RowAdamW:
    """AdamW with decoupled weight decay, and a running average, for the table rows that each batch reads."""

    def __init__(self, tables: dict[str, EmbeddingTable], device: torch.device) -> None:
        """tables: of one width, by the names of their weights. From now on their rows are read through this optimizer.

        On an accelerator, call ``read`` first, with all that a batch will look up, so that all of it is read at once.
        """
        weights = [table.weight.detach() for table in tables.values()]
        self.store = Store(weights)
        starts = accumulate((len(table.weight) for table in tables.values()), initial=0)
        self.tables = {
            name: TableState(table, self.store, start)
            for (name, table), start in zip(tables.items(), starts, strict=False)
        }
        self.device, self._missed, self._steps_before = device, MissedSteps(device), 0
        self._read = list[Rows]()
        self._ready, self._was_read = dict[EmbeddingTable, Tensor](), set[EmbeddingTable]()
        self._point_at_weights()
        for state in self.tables.values():
            state.module.reader = partial(self._rows_of, state)

    def read(self, rows: list[tuple[EmbeddingTable, Tensor]]) -> None:
        """Read what a batch looks up. rows: each table with the distinct rows that are read of it."""
        assert not self._was_read & {table for table, _ in rows}, "a table was read twice in one step"
        self._was_read |= {table for table, _ in rows}
        starts = {state.module: state.start for state in self.tables.values()}
        in_store = [rows_U + starts[table] if starts[table] else rows_U for table, rows_U in rows]
        current = self.store.gather(
            torch.cat(in_store) if len(in_store) > 1 else in_store[0], self._missed, self._steps_before
        )
        current.weight.requires_grad_()
        self._read.append(current)
        parts = torch.split(current.weight, [len(part) for part in in_store]) if len(in_store) > 1 else [current.weight]
        self._ready |= {table: part for (table, _), part in zip(rows, parts, strict=True)}

    def step(self, learning_rate: float, weight_decay: float, average_decay: float) -> None:
        """Step the rows that were read since the last step, by their gradients."""
        number = self._missed.number + 1
        correction1 = 1 - BETA1 ** (self._steps_before + number)
        correction2 = math.sqrt(1 - BETA2 ** (self._steps_before + number))
        shrink = 1 - learning_rate * weight_decay
        for rows in self._read:
            gradient, rows.weight = rows.weight.grad, rows.weight.detach()
            assert gradient is not None  # whatever a batch reads, it uses
            if self.device.type == "cpu":
                rows.exp_avg.lerp_(gradient, 1 - BETA1)
                rows.exp_avg_sq.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
                length = rows.exp_avg_sq.sqrt().div_(correction2).add_(EPSILON)
                rows.weight.mul_(shrink).addcdiv_(rows.exp_avg, length, value=-learning_rate / correction1)
            else:
                rows.take_fused_step(gradient, self._steps_before + number, learning_rate, weight_decay)
            rows.average.lerp_(rows.weight, 1 - average_decay)
            self.store.scatter(rows, number)
        self._read, self._ready, self._was_read = [], {}, set()
        self._missed.add(learning_rate * correction2 / correction1, shrink, average_decay)

    def settle(self) -> None:
        """Bring every row up to date."""
        for table in self.tables.values():
            for rows in torch.split(torch.arange(table.start, table.end, device=self.device), ROWS_AT_ONCE):
                self.store.scatter(self.store.gather(rows, self._missed, self._steps_before), 0)
        self._steps_before += self._missed.number
        self._missed = MissedSteps(self.device)

    def swap_averages(self) -> None:
        """Let the tables hold their averages in place of their weights, or the weights again. All rows are settled."""
        self.store.weight, self.store.average = self.store.average, self.store.weight
        self._point_at_weights()

    def averages(self) -> State:
        """The running averages by name, without a copy."""
        return {name: table.part("average") for name, table in self.tables.items()}

    def state(self) -> State:
        """Everything but the weights and averages, by name, without a copy."""
        tensors = {"missed": self._missed.history_6S[:, : self._missed.number + 1].contiguous()}
        tensors["steps_before"] = torch.tensor(self._steps_before)
        for name, table in self.tables.items():
            tensors |= {f"{name}.{part}": table.part(part) for part in SAVED}
        return tensors

    def restore(self, tensors: State) -> None:
        """Copy what ``state`` returned."""
        missed, self._steps_before = tensors["missed"], int(tensors["steps_before"])
        self._missed = MissedSteps(self.device)
        self._missed.number = missed.shape[1] - 1
        ahead_6S = self._missed.history_6S
        self._missed.history_6S = torch.cat([missed.to(ahead_6S), ahead_6S], dim=1)
        for name, table in self.tables.items():
            for part in SAVED:
                table.part(part).copy_(tensors[f"{name}.{part}"])

    def _point_at_weights(self) -> None:
        for table in self.tables.values():
            table.module.weight.data = table.part("weight")

    def _rows_of(self, state: TableState, rows_U: Tensor) -> Tensor:
        """Distinct rows of a table, as part of a leaf that receives their gradient."""
        if state.module not in self._ready:
            self.read([(state.module, rows_U)])
        return self._ready.pop(state.module)
