"""Embedding tables divided among processes: TorchRec's DistributedModelParallel (DMP) around an unchanged TwoTower.

While it trains, no process holds a whole table. Each fills its own parts with the initial weights, steps them while
gradients are computed, averages the rows that a step reads, and writes and reads them as pieces
(training/checkpoints/pieces.py). Only initial weights that are given (``start``) are whole tables, in main memory.

Shape suffixes: R rows that are looked up, D the width of a part, S steps.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recsys.data import OWN_ID
from recsys.model import INIT_STD, TwoTower, table_name

from .plan import TableOptimizer, sharders
from .processes import State

ROWS_AT_ONCE = 1 << 16
Sharded = dict[str, Any]  # torch's ShardedTensors, by name


@dataclass(frozen=True)
class Piece:
    """Part of a named tensor, and the offset at which it lies there, in each dimension."""

    name: str
    offsets: tuple[int, ...]
    tensor: Tensor


def shard(
    model: TwoTower, plan: Any, optimizer: TableOptimizer, device: torch.device, seed: int, start: State | None = None
) -> nn.Module:
    """Wrap ``model`` in DMP, and give its tables their initial weights.

    Args:
        model: With tables on the meta device, and everything else the same in all processes.
        plan: See ``make_plan``.
        optimizer: Of the tables; it updates them inside backward().
        device: This process's.
        seed: Of the initial weights, which do not depend on the number of processes.
        start: Initial weights of whole tables, by name, in place of random ones.
    """
    from torchrec.distributed import DistributedModelParallel

    dense = [weight for weight in model.parameters() if not weight.is_meta]
    for weight in dense:
        weight.data = weight.data.to(device)
    wrapped: nn.Module = DistributedModelParallel(
        model, device=device, plan=plan, sharders=sharders(optimizer),
        init_data_parallel=any(weight.requires_grad for weight in dense),  # fails where there is nothing but tables
    )  # fmt: skip
    with torch.no_grad():
        for name, table in sharded_state(wrapped).items():
            for piece in _pieces({name: table}):
                _initialise(piece, table.size()[1], seed, None if start is None else start[name])
    return wrapped


def dense_state(model: nn.Module) -> State:
    """The part of a model's state that every process holds: all but sharded tables."""
    return {name: value for name, value in model.state_dict().items() if not hasattr(value, "local_shards")}


def weight_pieces(model: nn.Module) -> list[Piece]:
    """This process's parts of the sharded tables."""
    return _pieces(sharded_state(model))


def sharded_state(model: nn.Module) -> Sharded:
    """The sharded tables."""
    return {name: value for name, value in model.state_dict().items() if hasattr(value, "local_shards")}


class ShardedTables:
    """The optimizers and running averages of a model's sharded tables, with the interface of RowAdamW.

    A fused optimizer changes only rows that a step reads, so the average of any other row is known: after n steps with
    decays d_1 ... d_n it is P a + (1 - P) w, with P = d_1 * ... * d_n. It is computed when the row is next read.
    """

    def __init__(self, model: nn.Module, *, averaged: bool) -> None:
        self._model, self._averaged = model, averaged
        self.device = next(model.parameters()).device
        self._steps = 0  # of the whole training: Adam's step count
        self._number, self._log_decay = 0, 0.0  # steps since the last settle, and the sum of their decays' logarithms
        self._log_decays_S = torch.zeros(
            1 << 10, dtype=torch.float64, device=self.device
        )  # that sum after each of them
        self._parts: dict[int, _Part] = {}
        for kernel in _kernels(model):
            parts = [_Part(weight.detach(), averaged) for weight in kernel.split_embedding_weights()]
            self._parts |= {part.weight.data_ptr(): part for part in parts if part.weight.numel()}
            kernel.register_forward_pre_hook(partial(self._before_lookup, parts), with_kwargs=True)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Let Adam use another learning rate from now on. Adagrad's does not change: its steps shrink by themselves."""
        for kernel in _kernels(self._model):
            if kernel.optimizer.value == "adam":
                kernel.set_learning_rate(learning_rate)

    def step(self, _learning_rate: float, _weight_decay: float, average_decay: float) -> None:
        """Note that a step has been taken. The optimizer has done its part in backward() already."""
        self._steps += 1
        self._number += 1
        self._log_decay += math.log(average_decay) if average_decay else 0.0
        if self._number == len(self._log_decays_S):
            self._log_decays_S = torch.cat([self._log_decays_S, torch.zeros_like(self._log_decays_S)])
        self._log_decays_S[self._number] = self._log_decay

    def settle(self) -> None:
        """Bring the average of every row up to date."""
        for part in self._parts.values():
            for rows in torch.split(torch.arange(len(part.weight), device=self.device), ROWS_AT_ONCE):
                part.average_rows(rows, self._number, self._log_decays_S)
            part.touched.zero_()
        self._number, self._log_decay = 0, 0.0

    def swap_averages(self) -> None:
        """Let the tables hold their averages in place of their weights, or the weights again. All rows are settled."""
        for part in self._parts.values():
            part.swap()

    def state(self) -> State:
        """What belongs to no single row."""
        return {"steps": torch.tensor(self._steps)}

    def restore(self, tensors: State) -> None:
        """Copy what ``state`` returned."""
        self._steps = int(tensors["steps"])

    def pieces(self) -> list[Piece]:
        """This process's parts of all that is kept for rows: weights, averages and the optimizer's state."""
        self.settle()
        weights = weight_pieces(self._model)
        groups = {"model": weights, "tables": _pieces(self._optimizer_state())}
        if self._averaged:
            groups["average"] = [replace(piece, tensor=self._average_of(piece)) for piece in weights]
        return [
            Piece(f"{group}.{piece.name}", piece.offsets, piece.tensor)
            for group, pieces in groups.items()
            for piece in pieces
        ]

    def targets(self) -> Iterator[Sharded]:
        """The tensors into which saved pieces are read, in groups; one takes effect when the next is asked for."""
        weights = sharded_state(self._model)
        if self._averaged:
            yield {f"average.{name}": value for name, value in weights.items()}
            for part in self._parts.values():
                part.average.copy_(part.weight)
        state = {f"tables.{name}": value for name, value in self._optimizer_state().items()}
        yield {f"model.{name}": value for name, value in weights.items()} | state
        _forget_caches(self._model)

    def _before_lookup(self, parts: list["_Part"], kernel: Any, _args: object, inputs: dict[str, Tensor]) -> None:
        """Average the rows that a step reads as they are before it, and tell Adam how many steps there have been.

        FBGEMM would count every lookup as a step, also those of validation. parts: of the kernel's tables.
        """
        if not torch.is_grad_enabled():
            return
        kernel.iter_cpu.fill_(self._steps)
        kernel.iter.fill_(self._steps)
        tables, rows = kernel.feature_table_map, [inputs["indices"]]
        if len(tables) > 1:
            starts = inputs["offsets"][:: max(1, (len(inputs["offsets"]) - 1) // len(tables))]
            rows = list(torch.split(inputs["indices"], starts.diff().tolist()))
        for table, rows_R in zip(tables, rows, strict=True):
            parts[table].average_rows(rows_R, self._number, self._log_decays_S)

    def _average_of(self, piece: Piece) -> Tensor:
        return self._parts[piece.tensor.data_ptr()].average if piece.tensor.numel() else piece.tensor

    def _optimizer_state(self) -> Sharded:
        state = self._model.fused_optimizer.state_dict()["state"]  # type: ignore[union-attr]  # DMP is untyped
        return {f"{table}/{key}": value for table, values in state.items() for key, value in values.items()}


class _Part:
    """A process's part of one table, [num rows, D], and its running average: the weights themselves if not averaged."""

    def __init__(self, weight: Tensor, averaged: bool) -> None:
        self.weight, self.averaged = weight, averaged
        self.average = weight.clone() if averaged else weight
        self.touched = torch.zeros(len(weight) if averaged else 0, dtype=torch.int32, device=weight.device)

    @torch.no_grad()
    def average_rows(self, rows_R: Tensor, number: int, log_decays_S: Tensor) -> None:
        """Bring the average of rows up to a step. Their weights have not changed since they were touched."""
        if not self.averaged:
            return
        decays_R = (log_decays_S[number] - log_decays_S[self.touched[rows_R].long()]).exp()
        decays_R1 = decays_R.to(self.weight.dtype).unsqueeze(1)
        weight_RD, average_RD = self.weight.index_select(0, rows_R), self.average.index_select(0, rows_R)
        self.average.index_copy_(0, rows_R, weight_RD.lerp_(average_RD, decays_R1.expand_as(average_RD)))
        self.touched.index_fill_(0, rows_R, number)

    def swap(self) -> None:
        """Exchange weights and averages, a part at a time: a second copy might not fit."""
        if not self.averaged:
            return
        for first in range(0, len(self.weight), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            weight = self.weight[rows].clone()
            self.weight[rows] = self.average[rows]
            self.average[rows] = weight


def _kernels(model: nn.Module) -> Iterator[Any]:
    """FBGEMM's modules that hold this process's parts. DMP does not list them among its own."""
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import SplitTableBatchedEmbeddingBagsCodegen

    for lookup in _lookups(model):
        for module in lookup.modules():
            if isinstance(module, SplitTableBatchedEmbeddingBagsCodegen):
                yield module


def _lookups(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        yield from getattr(module, "_lookups", ())


def _forget_caches(model: nn.Module) -> None:
    """Drop what a GPU has cached of tables in main memory: they have been changed there."""
    for lookup in _lookups(model):
        getattr(lookup, "module", lookup).purge()


def _pieces(tensors: Sharded) -> list[Piece]:
    """This process's parts."""
    return [
        Piece(name, tuple(local.metadata.shard_offsets), local.tensor)
        for name, value in tensors.items()
        for local in value.local_shards()
    ]


def _initialise(piece: Piece, width: int, seed: int, start: Tensor | None) -> None:
    """Fill a piece of a table with its initial weights, a block of rows at a time.

    Every block of a table has a seed of its own, so it does not matter which process draws it. width: of the table.
    """
    first_row, first_column = piece.offsets
    last_row, columns = first_row + len(piece.tensor), slice(first_column, first_column + piece.tensor.shape[1])
    if start is not None:
        piece.tensor.copy_(start[first_row:last_row, columns])
    elif piece.name.endswith(f".{table_name('user', OWN_ID.name)}.weight"):
        piece.tensor.zero_()
    else:
        for block in range(first_row // ROWS_AT_ONCE, -(-last_row // ROWS_AT_ONCE)):
            begin = block * ROWS_AT_ONCE
            rows = slice(max(first_row, begin), min(last_row, begin + ROWS_AT_ONCE))
            values = initial_rows(piece.name, block, rows.stop - begin, width, seed)[rows.start - begin :, columns]
            piece.tensor[rows.start - first_row : rows.stop - first_row] = torch.from_numpy(values)


def initial_rows(name: str, block: int, num_rows: int, width: int, seed: int) -> np.ndarray:
    """The first ``num_rows`` rows of a block of a table, [num_rows, width] float32, as TwoTower draws them."""
    generator = np.random.default_rng((seed, zlib.crc32(name.encode()), block))
    return INIT_STD * generator.standard_normal((num_rows, width), dtype=np.float32)
