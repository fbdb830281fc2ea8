"""Steps on the device, each by one copy that keeps neither side waiting.

On an accelerator, a thread assembles the steps that come next while the present one is computed. It packs all tensors
of a step into one buffer of pinned memory, which is copied without waiting for the device. The step's tensors there are
parts of that copy. On the CPU none of this happens.
"""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from .loader import Epoch, Step

AHEAD = 2  # steps that are ready before they are needed
ALIGNMENT = 8  # bytes: the largest size of a number


def steps_on(device: torch.device, epoch: Epoch) -> Generator[Step]:
    """The steps of an epoch on a device, in order. An exception in the thread is raised here."""
    if device.type == "cpu":
        yield from epoch
        return
    steps = iter(epoch)
    with ThreadPoolExecutor(1, "prefetch") as thread:
        ahead = deque(thread.submit(_next_packed, steps) for _ in range(AHEAD))
        while (packed := ahead.popleft().result()) is not None:
            ahead.append(thread.submit(_next_packed, steps))
            yield packed.to(device)


@dataclass(frozen=True)
class PackedStep:
    """A step, and the bytes of all its tensors in one buffer of pinned memory, [bytes] uint8."""

    step: Step
    buffer: Tensor

    @staticmethod
    def of(step: Step) -> "PackedStep":
        """Pack a step."""
        parts = list[Tensor]()
        step.map(lambda part: parts.append(part) or part)  # type: ignore[func-returns-value]
        sizes = [_aligned_size(part) for part in parts]
        buffer = torch.empty(sum(sizes), dtype=torch.uint8)
        for part, target in zip(parts, torch.split(buffer, sizes), strict=True):
            if part.nbytes:  # an empty array of NumPy has strides that Torch cannot view as bytes
                target[: part.nbytes] = part.flatten().view(torch.uint8)
        return PackedStep(step, buffer.pin_memory())

    def to(self, device: torch.device) -> Step:
        """The step on a device."""
        copied, end = self.buffer.to(device, non_blocking=True), 0

        def part_of_copy(part: Tensor) -> Tensor:
            nonlocal end
            start, end = end, end + _aligned_size(part)
            return copied[start : start + part.nbytes].view(part.dtype).view(part.shape)

        return self.step.map(part_of_copy)


def _next_packed(steps: Iterator[Step]) -> PackedStep | None:
    step = next(steps, None)
    return None if step is None else PackedStep.of(step)


def _aligned_size(part: Tensor) -> int:
    """The bytes between the start of a tensor in the buffer and the start of the next one."""
    return -(-part.nbytes // ALIGNMENT) * ALIGNMENT
