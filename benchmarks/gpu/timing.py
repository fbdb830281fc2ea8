"""Milliseconds and memory of one step on the device, and how busy a profile shows it."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

from benchmarks.gpu import rows

WARM, REPETITIONS, SECONDS = 5, 20, 2.0  # timed so many times, unless that takes longer


def synchronize() -> None:
    if rows.DEVICE == "cuda":
        torch.cuda.synchronize()


def milliseconds(step: Callable[[], Any]) -> float:
    """The median after a warm-up, by CUDA events on a GPU."""
    for _ in range(rows.sized(WARM, 1)):
        step()
    taken: list[float] = []
    started = time.perf_counter()
    while len(taken) < rows.sized(REPETITIONS, 1) and (len(taken) < 3 or time.perf_counter() - started < SECONDS):
        taken.append(_one(step))
    return statistics.median(taken)


def _one(step: Callable[[], Any]) -> float:
    if rows.DEVICE != "cuda":
        started = time.perf_counter()
        step()
        return 1e3 * (time.perf_counter() - started)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    step()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def peak_mib(step: Callable[[], Any]) -> float:
    """Peak memory of a step on the GPU beyond what was held before it, MiB; 0 on a CPU, which does not count it."""
    if rows.DEVICE != "cuda":
        step()
        return 0.0
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return (torch.cuda.max_memory_allocated() - held) / 2**20


def busy_share(spans: Iterable[tuple[float, float]]) -> float:
    """The share of the time from the first start to the last end that at least one span covers."""
    ordered = sorted(spans)
    if not ordered:
        return 0.0
    busy, covered = 0.0, ordered[0][0]
    for start, end in ordered:
        busy += max(0.0, end - max(start, covered))
        covered = max(covered, end)
    return busy / max(covered - ordered[0][0], 1e-9)


def profile_steps(step: Callable[[], Any], count: int) -> rows.Figures:
    """The share of time in kernels over ``count`` steps, and launches and waits of the host in a step.

    On a CPU, where there are no kernels, the share is that of torch's operations.
    """
    activity = torch.profiler.ProfilerActivity
    on_gpu = rows.DEVICE == "cuda"
    with torch.profiler.profile(activities=[activity.CUDA if on_gpu else activity.CPU]) as profile:
        for _ in range(count):
            step()
        synchronize()
    events = profile.events() or []
    device = torch.autograd.DeviceType.CUDA if on_gpu else torch.autograd.DeviceType.CPU
    kernels = [event for event in events if event.device_type == device and not event.name.startswith("cuda")]
    waits = sum("Synchronize" in event.name for event in events) - on_gpu  # the last one is ours
    return {
        "share of time in kernels": round(busy_share((e.time_range.start, e.time_range.end) for e in kernels), 3),
        "launches a step": sum("LaunchKernel" in event.name for event in events) / count,
        "waits a step": waits / count,
    }
