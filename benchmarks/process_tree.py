"""The time that a command takes, and the most memory and disk that it and all its processes hold.

Memory is seen five times a second. "resident" adds up what Linux calls the proportional set size of each process: a
page that several share, as of mapped files and libraries, is counted once. "anonymous" leaves out all pages of files,
which Linux can drop when it wants their memory.
"""

import os
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.2  # seconds
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """Seconds, MiB, and what the command printed."""

    wall: float
    cpu: float
    resident: float
    anonymous: float
    disk: float
    output: str
    code: int


def measure(command: list[str], scratch: Path | None = None, timeout: float = 1e9) -> Measured:
    """Run a command to its end. scratch: the folder whose size is seen every few seconds."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    resident = anonymous = disk = steps = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while process.poll() is None:
            sizes = [held(pid) for pid in _tree(process.pid)]
            resident = max(resident, sum(pair[0] for pair in sizes))
            anonymous = max(anonymous, sum(pair[1] for pair in sizes))
            if scratch is not None and steps % 15 == 0:
                disk = max(disk, _size(scratch))
            steps += 1
            if time.perf_counter() - began > timeout:
                process.kill()
            time.sleep(INTERVAL)
        wall, output = time.perf_counter() - began, process.communicate()[0]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(wall, cpu, resident / MIB, anonymous / MIB, disk / MIB, output, process.returncode)


def _tree(pid: int) -> list[int]:
    """A process and all processes that it started, and they started."""
    pids = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                pids += _tree(int(child))
    except OSError:  # it has ended
        pass
    return pids


def held(pid: int) -> tuple[int, int]:
    """Bytes of a process: its share of what is resident, and what is not of files."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes["Pss"], sizes["Anonymous"]


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_blocks * 512
            except OSError:
                continue
    return total
