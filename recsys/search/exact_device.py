"""Answers from a GPU: it scores all items, leaves out what was seen, scores candidates again and sorts them.

Scores come from vectors rounded to float16, and the masks are applied to them, so that an ineligible item is never a
candidate. The ``fetch`` items with the highest rounded scores are scored again in float64 from the float32 vectors and
sorted by score descending, then position ascending. An answer is final if its last score exceeds the lowest rounded
score among the candidates by more than rounding can cost (``_error``): then no other item belongs in it. Otherwise
twice as many candidates are fetched, and in the end every item is scored in float64. So the answers are those of the
CPU. A bit differs only where an exact score lies within float64's error of the middle between two float32 numbers.
An approximate index, if there is one, proposes candidates instead of the rounded scores.

The host waits for the device once for a batch, and once more for each time some users need more candidates. A search
changes nothing here, so threads can share a catalogue.

Legend: B users, N items, D dimensions, T items of a block, G groups of items, C candidates, K answers.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data import Int32, Int64, Jagged
from ..errors import InputError
from .faiss_index import MAX_GPU_SELECTION, GpuIndex
from .rescoring import FLOAT32_ERROR, FLOAT32_TINY, LAST_KEY, exact_scores, packed_keys, padding, unpacked
from .vectors import Bool, Float32

GROUP = 32  # items of which only the highest score is compared at first
MARGIN = 16  # candidates fetched beyond need, so that the k-th answer is rarely the last candidate
MAX_FETCH = 8192  # beyond it, scoring every item in float64 costs little more
MAX_USERS = 4096  # in a block
BLOCK_ITEMS = 2**20  # a multiple of GROUP
BLOCK_BYTES = 2**30  # of rounded scores, or of exact products: bounds the memory of a search to about three times this
# Of the product of lengths: a float16 result, and three sums of parts of it, which cuBLAS may round to float16 as well.
PRODUCT_ERROR = 4 * 2.0**-11
ROUNDED_AT_ONCE = 2**16  # rows of the catalogue
SMALLEST = 2.0**-24  # the spacing of float16 numbers near 0

Rank = Callable[[Tensor, "Seen"], Tensor]  # of the users of a block, and what they have seen


class DeviceCatalogue:
    """A catalogue on a device, which takes 6 bytes there for each of its numbers.

    Args:
        vectors_ND: [N + 1, D] float32; row 0 is nobody's answer.
        max_norm: the length of the longest row.
        device: where to search.

    Attributes:
        items: the vectors on the device.

    Raises:
        InputError: The GPU has too little memory left.
    """

    def __init__(self, vectors_ND: Float32, max_norm: float, device: torch.device) -> None:
        _require_memory(vectors_ND, device)
        self._device, self.num_items = device, len(vectors_ND) - 1
        self._max_norm = max_norm
        # A power of two, which changes no digit, brings all lengths below 1, where float16 is most precise.
        self._scale = 2.0 ** -math.frexp(max_norm)[1]
        num_rows = -(-len(vectors_ND) // GROUP) * GROUP
        # where candidates run out, some are of the empty rows of the last group
        self._padded_ND = torch.zeros(num_rows, vectors_ND.shape[1], device=device)
        self.items = self._padded_ND[: len(vectors_ND)].copy_(torch.from_numpy(vectors_ND))
        self._rounded_ND = torch.zeros(num_rows, vectors_ND.shape[1], dtype=torch.float16, device=device)
        roundings = [self._round(start) for start in range(1, len(vectors_ND), ROUNDED_AT_ONCE)]
        self._max_rounding = float(torch.stack(roundings).max())
        self._bars_N = self._bars(None)

    def search(
        self, users_BD: Float32, k: int, excluded: Jagged | None, allowed: Bool | None, index: GpuIndex | None = None
    ) -> tuple[Int32, Float32]:
        """As ``ItemIndex.search``; the arguments are known to be right. users_BD: shorter than 1e18 each.

        index: an approximate index whose candidates are enough for most users. For all others the search is exact.
        """
        positions_BK, scores_BK = padding(len(users_BD), k)
        num_answers, is_settled_B = min(k, self.num_items), np.zeros(len(users_BD), bool)
        bars_N = self._bars_N if allowed is None else self._bars(allowed)
        seen = Jagged(np.empty(0, np.int32), np.zeros(len(users_BD) + 1, np.int64)) if excluded is None else excluded

        def settle(rows: Int64, step: int, rank: Rank) -> None:
            everybody = len(rows) == len(users_BD)
            users, seen_of = (users_BD, seen) if everybody else (users_BD[rows], seen.take(rows))
            packed = self._by_blocks(users, seen_of, step, rank).cpu().numpy()  # the one wait
            positions_BK[rows, :num_answers] = packed[:, :num_answers]
            scores_BK[rows, :num_answers] = packed[:, num_answers:-1].view(np.float32)
            is_settled_B[rows] = packed[:, -1] != 0

        if index is not None:
            num_allowed = self.num_items if allowed is None else int(np.count_nonzero(allowed[1:]))
            for rows, fetch in self._proposals(num_answers, seen.lengths, num_allowed):
                proposed = Proposed.by(index, users_BD[rows], fetch, self._device)
                settle(rows, len(rows), partial(self._best, k=num_answers, bars_N=bars_N, proposed=proposed))
        fetch = 1 << (num_answers + MARGIN - 1).bit_length()
        while len(rows := np.flatnonzero(~is_settled_B)):
            if fetch <= min(MAX_FETCH, self.num_items // 4):
                settle(rows, self._step(fetch), partial(self._top, k=num_answers, bars_N=bars_N, fetch=fetch))
            else:
                settle(rows, self._step(None), partial(self._everything, k=num_answers, bars_N=bars_N))
            fetch *= 2
        return positions_BK, scores_BK

    def _by_blocks(self, users_BD: Float32, seen: Jagged, step: int, rank: Rank) -> Tensor:
        """Positions, the bits of scores, and whether they are final: [B, 2 * k + 1] int32 on the device.

        step: users of a block. rank: gives the same for a block.
        """
        exact_BD = to_device(self._device, users_BD)
        values, offsets = to_device(self._device, seen.values), to_device(self._device, seen.offsets)
        row_of_value = torch.searchsorted(offsets[1:], torch.arange(len(values), device=self._device), right=True)
        answers = []
        for start in range(0, len(users_BD), step):
            part = slice(*seen.offsets[[start, min(start + step, len(users_BD))]].tolist())
            seen_of_block = Seen(row_of_value[part] - start, values[part].long())
            answers.append(rank(exact_BD[start : start + step], seen_of_block))
        return torch.cat(answers)

    def _step(self, fetch: int | None) -> int:
        """How many users a block may have. fetch: of each; None: they are compared with every item."""
        dim, num_rows = self.items.shape[1], min(BLOCK_ITEMS, len(self._rounded_ND))
        size = 8 * dim * num_rows if fetch is None else max(2 * num_rows, 16 * GROUP * fetch)
        return min(MAX_USERS, max(1, BLOCK_BYTES // size))

    def _proposals(self, k: int, num_seen_B: Int64, num_allowed: int) -> Iterator[tuple[Int64, int]]:
        """The rows of users to whom an index can propose enough, in blocks, and how many candidates they need."""
        if 4 * num_allowed <= self.num_items:
            return
        need_B = (k + MARGIN + num_seen_B) * (self.num_items / num_allowed)
        fetch_B = 2 ** np.ceil(np.log2(need_B)).astype(np.int64)
        for fetch in np.unique(fetch_B[fetch_B <= min(MAX_GPU_SELECTION, self.num_items // 4)]).tolist():
            rows = np.flatnonzero(fetch_B == fetch)
            yield from ((rows[start : start + MAX_USERS], fetch) for start in range(0, len(rows), MAX_USERS))

    def _best(self, users_BD: Tensor, seen: "Seen", *, k: int, bars_N: Tensor, proposed: "Proposed") -> Tensor:
        """The best of what an index proposed, packed as by ``_by_blocks``."""
        wide_BD, positions_BC = users_BD.double(), proposed.positions
        eligible_BC = (bars_N[positions_BC] == 0) & ~seen.contains(positions_BC, self.num_items + 1)
        keys_BC = packed_keys(exact_scores(self.items, wide_BD, positions_BC, BLOCK_BYTES // 4), positions_BC)
        positions_BK, bits_BK = unpacked(torch.where(eligible_BC, keys_BC, LAST_KEY).sort(dim=1).values[:, :k])
        error_B = FLOAT32_ERROR * self._max_norm * torch.linalg.vector_norm(wide_BD, dim=1) + FLOAT32_TINY
        settled_B = bits_BK[:, -1].view(torch.float32) > proposed.floor + error_B
        return torch.cat([positions_BK, bits_BK, settled_B.int().unsqueeze(1)], dim=1)

    def _top(self, users_BD: Tensor, seen: "Seen", *, k: int, bars_N: Tensor, fetch: int) -> Tensor:
        """The best of the ``fetch`` candidates with the highest rounded scores, packed as by ``_by_blocks``."""
        wide_BD = users_BD.double()
        norm_B = torch.linalg.vector_norm(wide_BD, dim=1)
        scale_B = torch.exp2(-torch.frexp(norm_B).exponent.double())
        rounded_BD = (wide_BD * scale_B.unsqueeze(1)).half()
        rounding_B = torch.linalg.vector_norm(wide_BD * scale_B.unsqueeze(1) - rounded_BD, dim=1)
        error_B = self._error(norm_B * scale_B, rounding_B) + FLOAT32_TINY * scale_B * self._scale
        positions_BC, rounded_BC = self._candidates(rounded_BD, seen, bars_N, fetch)
        floor_B = rounded_BC.amin(dim=1).double()
        scores_BC = exact_scores(self._padded_ND, wide_BD, positions_BC, BLOCK_BYTES // 4)
        keys_BC = torch.where(rounded_BC > -math.inf, packed_keys(scores_BC, positions_BC), LAST_KEY)
        positions_BK, bits_BK = unpacked(keys_BC.sort(dim=1).values[:, :k])
        last_B = bits_BK[:, -1].view(torch.float32).double() * scale_B * self._scale
        settled_B = (last_B > floor_B + error_B) | (floor_B == -math.inf)
        return torch.cat([positions_BK, bits_BK, settled_B.int().unsqueeze(1)], dim=1)

    def _error(self, norm_B: Tensor, rounding_B: Tensor) -> Tensor:
        """By how much a rounded score can be off, [B] float64, where all lengths are scaled to at most 1.

        With v and y the rounded u and x, |ux - vy| <= |u - v| |x| + |u| |x - y| + |u - v| |x - y|. The first two terms
        are counted; the error of the product has room for the third. Numbers near 0 lose up to half of SMALLEST each.
        """
        product = (PRODUCT_ERROR + FLOAT32_ERROR) * norm_B
        return rounding_B + self._max_rounding * norm_B + product + 4 * SMALLEST

    def _candidates(self, users_BD: Tensor, seen: "Seen", bars_N: Tensor, fetch: int) -> tuple[Tensor, Tensor]:
        """The positions [B, C] and rounded scores of the ``fetch`` items with the highest ones; -inf if ineligible.

        The ``fetch`` highest scores are in the ``fetch`` groups with the highest maxima, so only these are looked into.
        """
        best: list[tuple[Tensor, Tensor]] = []
        in_group = torch.arange(GROUP, device=self._device)
        for start in range(0, len(self._rounded_ND), BLOCK_ITEMS):
            part_TD = self._rounded_ND[start : start + BLOCK_ITEMS]
            scores = users_BD.new_empty(len(users_BD) * len(part_TD) + 1)  # the last one takes what is not in the block
            scores_BT = scores[:-1].view(len(users_BD), len(part_TD))
            torch.addmm(bars_N[start : start + len(part_TD)], users_BD, part_TD.T, out=scores_BT)
            seen.fill(scores, start, len(part_TD), -math.inf)
            maxima_BG = scores_BT.view(len(users_BD), -1, GROUP).amax(dim=2)
            groups_BG = maxima_BG.topk(min(fetch, maxima_BG.shape[1]), dim=1, sorted=False).indices
            columns_BC = (groups_BG.unsqueeze(2) * GROUP + in_group).flatten(1)
            best.append((columns_BC + start, scores_BT.gather(1, columns_BC)))
            positions_BC, scores_BC = (torch.cat(parts, dim=1) for parts in zip(*best, strict=True))
            top = scores_BC.topk(min(fetch, scores_BC.shape[1]), dim=1, sorted=False)
            best = [(positions_BC.gather(1, top.indices), top.values)]
        return best[0]

    def _everything(self, users_BD: Tensor, seen: "Seen", *, k: int, bars_N: Tensor) -> Tensor:
        """The best of all items by exact scores, packed as by ``_by_blocks``."""
        wide_BD, num_users = users_BD.double(), len(users_BD)
        best_BK = torch.full((num_users, k), LAST_KEY, dtype=torch.int64, device=self._device)
        width = max(1, BLOCK_BYTES // (8 * wide_BD.shape[1] * num_users))
        for start in range(0, self.num_items + 1, width):
            positions_T = torch.arange(start, min(start + width, self.num_items + 1), device=self._device)
            positions_BT = positions_T.expand(num_users, -1)
            keys_BT = packed_keys(exact_scores(self.items, wide_BD, positions_BT, BLOCK_BYTES // 4), positions_BT)
            keys_BT = torch.where(bars_N[start : start + len(positions_T)] == 0, keys_BT, LAST_KEY)
            keys = torch.cat([keys_BT.flatten(), keys_BT.new_empty(1)])
            seen.fill(keys, start, len(positions_T), LAST_KEY)
            keys_BC = torch.cat([best_BK, keys[:-1].view_as(keys_BT)], dim=1)
            best_BK = keys_BC.topk(k, dim=1, largest=False, sorted=True).values
        final_B1 = torch.ones(num_users, 1, dtype=torch.int32, device=self._device)
        return torch.cat([*unpacked(best_BK), final_B1], dim=1)

    def _bars(self, allowed: Bool | None) -> Tensor:
        """What is added to the rounded scores of each row: 0, or -inf for a row that nobody may get."""
        bars_N = np.full(len(self._rounded_ND), -np.inf, np.float16)
        bars_N[1 : self.num_items + 1] = 0 if allowed is None else np.where(allowed[1:], 0, -np.inf)
        return to_device(self._device, bars_N)

    def _round(self, start: int) -> Tensor:
        """Round some rows of the catalogue; returns the length of the largest difference, scaled."""
        exact = self.items[start : start + ROUNDED_AT_ONCE].double() * self._scale
        rounded = exact.half()
        self._rounded_ND[start : start + len(exact)] = rounded
        largest: Tensor = torch.linalg.vector_norm(exact - rounded, dim=1).max()
        return largest


class Seen:
    """Pairs of a user of a block and a position that this user must not get. rows, positions: int64, of one length."""

    def __init__(self, rows: Tensor, positions: Tensor) -> None:
        self._rows, self._positions = rows, positions

    def fill(self, values: Tensor, start: int, width: int, bar: Any) -> None:
        """Write ``bar`` where a user must not get an item of a block.

        Args:
            values: a row of ``width`` values per user, flat, and one more value, which is overwritten.
            start: the position of the block's first item.
            width: the number of its items.
            bar: what to write.
        """
        if not len(self._rows):
            return
        columns = self._positions - start
        is_inside = (columns >= 0) & (columns < width)
        values.index_fill_(0, torch.where(is_inside, self._rows * width + columns, len(values) - 1), bar)

    def contains(self, positions_BC: Tensor, stride: int) -> Tensor:
        """Whether each user must not get each of the positions in their row, [B, C]. stride: more than any position."""
        rows_B1 = torch.arange(len(positions_BC), device=positions_BC.device).unsqueeze(1)
        keys = (self._rows * stride + self._positions).sort().values
        if not len(keys):
            return torch.zeros_like(positions_BC, dtype=torch.bool)
        wanted_BC = rows_B1 * stride + positions_BC
        nearest_BC = torch.searchsorted(keys, wanted_BC).clamp_(max=len(keys) - 1)
        return keys[nearest_BC] == wanted_BC


@dataclass(frozen=True)
class Proposed:
    """The candidates of an approximate index for a block of users.

    positions: [B, C] int64 on the device; 0 pads. floor: [B] float32, a score that no item found but not proposed
    exceeds; -inf if there is none.
    """

    positions: Tensor
    floor: Tensor

    @staticmethod
    def by(index: GpuIndex, users_BD: Float32, fetch: int, device: torch.device) -> "Proposed":
        """Ask an index for ``fetch`` candidates a user."""
        scores_BC, ids_BC = np.empty((len(users_BD), fetch), np.float32), np.empty((len(users_BD), fetch), np.int64)
        index.search(users_BD, fetch, scores_BC, ids_BC)
        return Proposed(to_device(device, ids_BC) + 1, to_device(device, scores_BC[:, -1]))


def _require_memory(vectors_ND: Float32, device: torch.device) -> None:
    if device.type != "cuda":
        return
    need, free = 6 * vectors_ND.size + 3 * BLOCK_BYTES, torch.cuda.mem_get_info(device)[0]
    if need > free:
        raise InputError(
            f"searching {len(vectors_ND) - 1:,} items of {vectors_ND.shape[1]} numbers needs {need / 2**30:.1f} GiB of "
            f"the GPU's memory, of which {free / 2**30:.1f} GiB are free; use the device 'cpu', or a larger GPU"
        )


def to_device(device: torch.device, values: npt.NDArray[Any] | Tensor) -> Tensor:
    """The values as a tensor on the device. The host waits for no GPU, which copies from pinned memory when it can."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
