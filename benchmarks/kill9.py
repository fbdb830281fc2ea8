"""Kill -9 at random moments of every stage; each must restart or resume to the same result.

    python benchmarks/kill9.py --kills 20 --out DIR

Runs build, train, publish and score of a small synthetic world once undisturbed, then again with a SIGKILL after a
random share of each stage's time, over and over, until the stage has been killed --kills times and then ended. Compared
are the training artifact, the bundle id, the number of registered versions and the scores, byte for byte; after every
kill, whatever stands under a final name must be readable.
"""

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from recsys import demo
from recsys.bundle import verify
from recsys.dataset import Dataset
from recsys.registry import Registry
from recsys.synthetic import make_world

EPOCHS = 3


def commands(out: Path) -> dict[str, list[str]]:
    registry = f"sqlite:///{out.resolve()}/mlflow.db"
    config = ["--config", str(out / "demo.toml"), "--set", f"training.epochs={EPOCHS}"]
    return {
        "build": ["build", *config, "--out", str(out / "dataset")],
        "train": ["train", *config, "--dataset", str(out / "dataset"), "--out", str(out / "run"), "--resume"],
        "publish": ["publish", "--run", str(out / "run"), "--registry", registry],
        "score": ["score", "--bundle", str(out / "run" / "bundle"), "--events", str(out / "events.parquet"), "--out",
                  str(out / "recs"), "--k", "20"],
    }  # fmt: skip


def contents(folder: Path, pattern: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob(pattern)):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def result(out: Path) -> dict[str, object]:
    registry = Registry(f"sqlite:///{out.resolve()}/mlflow.db")
    return {
        "train artifact": contents(out / "dataset" / "train", "*"),
        "bundle id": verify(out / "run" / "bundle"),
        "versions": len(registry.versions(demo.NAME)),
        "scores": contents(out / "recs", "part-*.parquet"),
    }


def check_readable(out: Path) -> None:
    """What stands under its final name is whole."""
    if (out / "dataset").exists():
        Dataset.open(out / "dataset")
    if (out / "run" / "bundle").exists():
        verify(out / "run" / "bundle")


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "recsys.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    lottery, seconds = random.Random(arguments.seed), {}
    calm, rough = arguments.out / "calm", arguments.out / "rough"
    for out in (calm, rough):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        world = make_world(seed=0, num_users=400, num_items=200)
        world.events.write_parquet(out / "events.parquet")
        world.items.write_parquet(out / "items.parquet")
        (out / "demo.toml").write_text(demo.CONFIG)
    for stage, command in commands(calm).items():
        started = time.perf_counter()
        process = start(command)
        assert process.wait() == 0, process.stderr.read() if process.stderr else b""
        seconds[stage] = time.perf_counter() - started
    for stage, command in commands(rough).items():
        kills, runs = 0, 0
        while True:
            process, runs = start(command), runs + 1
            try:
                _, error = process.communicate(
                    timeout=lottery.uniform(0, seconds[stage]) if kills < arguments.kills else None
                )
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                kills += 1
                check_readable(rough)
                continue
            assert process.returncode == 0, error.decode()
            if kills >= arguments.kills:
                break
            if stage in ("build", "score"):  # ended by luck: once more from the start
                shutil.rmtree(rough / ("dataset" if stage == "build" else "recs"))
        print(f"{stage}: killed {kills} times in {runs} runs, then ended", flush=True)
    before, after = result(calm), result(rough)
    for key, value in before.items():
        print(f"{key}: {'same' if after[key] == value else 'DIFFERENT'}  {str(value)[:16]}")
    sys.exit(before != after)


if __name__ == "__main__":
    main()
