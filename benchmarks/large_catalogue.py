"""A catalogue of millions from the log to a registered version, each stage in a process of its own.

    python -m benchmarks.large_catalogue --items 10000000 --out DIR

Builds a log in which every item has an event that is trained on, trains one member of 64 dimensions for an
epoch, publishes and evaluates, and prints the seconds and the peak memory of every stage. Started again, it continues
after the last stage that ended.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.speed.logs import make_catalogue_log

CONFIG = """
[data]
events = "events.parquet"
time = "position"
catalogue = "events"

[model]
embedding_dim = 64
num_members = 1
max_history = 50

[training]
epochs = 1
refit = false
"""
STAGES = {
    "build": ("--config", "config.toml", "--out", "dataset"),
    "train": ("--config", "config.toml", "--dataset", "dataset", "--out", "run"),
    "publish": ("--run", "run", "--registry", "sqlite:///registry.db"),
}


def run_stage(name: str, folder: Path) -> dict[str, float]:
    """Run one command in a process of its own, and measure it."""
    started = time.perf_counter()
    program = (
        "import json, resource, sys; from recsys.cli import main\n"
        "try: main()\n"
        "finally: print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss), file=open('peak.json', 'w'))"
    )
    subprocess.run([sys.executable, "-c", program, name, *STAGES[name]], check=True, cwd=folder)
    peak = json.loads((folder / "peak.json").read_text())
    return {"seconds": time.perf_counter() - started, "peak_gib": peak / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    folder = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(CONFIG)
    figures_path = folder / "figures.json"
    figures = json.loads(figures_path.read_text()) if figures_path.exists() else {}
    make_catalogue_log(folder / "events.parquet", arguments.items)
    for name in STAGES:
        if name not in figures:
            figures[name] = run_stage(name, folder)
            figures_path.write_text(json.dumps(figures))
        print(f"{name}: {figures[name]['seconds']:,.0f} s, peak {figures[name]['peak_gib']:.1f} GiB")


if __name__ == "__main__":
    main()
