"""How much main memory there is."""

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 62


def machine_memory() -> int:
    """Bytes of main memory, or as many as the container of this process allows."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of the second and the first version of cgroups
        limits += [int(line) for line in _lines(CGROUP / name) if line.isdigit()]
    return min(limits)


def free_memory() -> int:
    """Bytes that this process can still get, no more than its container allows."""
    limits = [int(line.split()[1]) * 1024 for line in _lines(MEMINFO) if line.startswith("MemAvailable:")]
    for limit in _lines(CGROUP / "memory.max"):
        used = [int(line) for line in _lines(CGROUP / "memory.current")]
        cache = [int(line.split()[1]) for line in _lines(CGROUP / "memory.stat") if line.startswith("inactive_file ")]
        limits += [int(limit) - sum(used) + sum(cache)] if limit.isdigit() else []
    return min(limits, default=UNLIMITED)


def _lines(path: Path) -> list[str]:
    """The lines of a file of the operating system; none where there is no such file."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
