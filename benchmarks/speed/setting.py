"""Where and with what a measurement was made: machine, versions, commit, command."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.speed.race import PEERS, ROOT

OURS = ("recsys", "numpy", "polars", "pyarrow", "torch", "faiss-cpu")
ASK = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"


def setting() -> dict[str, str]:
    """Each as one line of text."""
    ours = {name: importlib.metadata.version(name) for name in OURS}
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB, {platform.system()}",
        "ours": listed({"Python": platform.python_version()} | ours),
        "peers": listed(peers()),
        "commit": commit(),
        "command": f"python -m benchmarks.speed.run {' '.join(sys.argv[1:])}",
        "threads": listed({name: value for name, value in sorted(os.environ.items()) if name.startswith("OMP_")}),
    }


def listed(pairs: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs.items())


def processor() -> str:
    """Of the first core, as Linux calls it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def peers() -> dict[str, str]:
    """What peers.txt names, and the torch beside it, as installed; nothing where there is no such environment.

    Rows of ours alone can be run without it.
    """
    if not (PEERS / "bin" / "python").exists():
        return {}
    lines = (ROOT / "benchmarks" / "peers.txt").read_text().splitlines()
    names = [line.split("==")[0] for line in lines if "==" in line]
    command = [str(PEERS / "bin" / "python"), "-c", ASK, *names, "torch"]
    found: dict[str, str] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout

    changed = " and changes" if git("status", "--porcelain").strip() else ""
    return (git("rev-parse", "--short=10", "HEAD").strip() or "unknown") + changed
