"""Kill -9 at random moments of every stage; each must restart or resume to the same result.

    python benchmarks/kill9.py --kills 20 --out DIR

Runs build, train, publish and score of a small synthetic world once undisturbed, then again with a SIGKILL after a
random share of each stage's time, over and over, until the stage has been killed --kills times and then ended. Compared
are the training artifact, the bundle id, the number of registered versions and the scores, byte for byte; after every
kill, whatever stands under a final name must be readable.

Then ``recsys promote`` is killed, by turns once it has judged, where it locks and writes, and at any moment. After
every kill the champion must be whole; whenever a run ends, aliases and history must be those of one promotion and
nothing be locked. The longest run tells whether one waited for a lock that a killed one left.

With --build-events 100000000 only the build is killed, of a synthetic log of so many events, with two workers and the
GiB of --memory; all bytes of its dataset are compared.
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

from benchmarks.build_memory import make_logs
from benchmarks.contenders import LENIENT, challenge, prepare
from recsys import demo
from recsys.bundle import verify
from recsys.data import Dataset
from recsys.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from recsys.synthetic import make_world
from training.promotion import promote

EPOCHS = 3
MADE = {"build": ["dataset"], "train": [], "publish": ["run/bundle", "run/records", "mlartifacts"], "score": ["recs"]}


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
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
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


def wait_until_judged(process: subprocess.Popen[bytes]) -> None:
    """Read the log of ``recsys promote`` until the checks are made; locking and writing follow."""
    assert process.stderr is not None
    for line in process.stderr:
        if b" checks" in line:
            return


def kill_promotions(out: Path, kills: int, lottery: random.Random) -> bool:
    """Kill ``recsys promote`` over and over, print what came of it; returns whether all was well."""
    prepare(out)
    uri, name = f"sqlite:///{out}/mlflow.db", "duel"
    champion = challenge(uri, name, out, "first", out / "first")
    promote(name, registry_uri=uri, overrides=LENIENT)
    challenger = challenge(uri, name, out, "second", out / "second")
    store, before = Registry(uri), (out / "mlflow.db").read_bytes()
    settings = [part for setting in LENIENT for part in ("--set", setting)]
    command = ["promote", name, "--version", str(challenger.number), "--registry", uri, *settings]
    began, calm = time.perf_counter(), start(command)
    wait_until_judged(calm)
    judged = time.perf_counter()
    calm.communicate()
    most = whole = time.perf_counter() - began
    rest = time.perf_counter() - judged
    wrong, killed, left, late = unfinished(store, name, champion.number, challenger.number), 0, 0, False
    (out / "mlflow.db").write_bytes(before)
    while True:
        late = not late
        began, process = time.perf_counter(), start(command)
        if late:
            wait_until_judged(process)
        try:
            moment = lottery.uniform(0, rest if late else whole)
            _, error = process.communicate(timeout=moment if killed < kills else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
            left += bool(store.client.search_registered_models(f"name = '{name}.lock'"))
            reigning = store.version(name, CHAMPION)
            if reigning is None or verify(store.bundle_path(reigning)) != reigning.bundle_id:
                wrong.append(f"after {killed} kills the champion is {reigning}")
            continue
        most = max(most, time.perf_counter() - began)
        wrong += [error.decode()] if process.returncode else []
        wrong += unfinished(store, name, champion.number, challenger.number)
        if killed >= kills:
            break
        (out / "mlflow.db").write_bytes(before)  # ended by luck: once more from the start
    print(f"promote: killed {killed} times, {left} times with the lock; a run took {whole:.1f} s "
          f"undisturbed, {most:.1f} s at most")  # fmt: skip
    print(f"aliases and history: {'; '.join(wrong) or 'same'}", flush=True)
    return not wrong


def unfinished(store: Registry, name: str, old: int, new: int) -> list[str]:
    """What differs from one promotion of ``new`` after ``old``."""
    found = {alias: store.version(name, alias) for alias in (CHAMPION, PREVIOUS, CHALLENGER)}
    numbers = {alias: version.number for alias, version in found.items() if version is not None}
    served = [change.version for change in store.changes(name)]
    locks = [model.name for model in store.client.search_registered_models(f"name LIKE '{name}.lock%'")]
    expected = ({CHAMPION: new, PREVIOUS: old}, [old, new], [])
    return [] if (numbers, served, locks) == expected else [f"{numbers}, history {served}, locks {locks}"]


def kill_builds(out: Path, kills: int, lottery: random.Random, num_events: int, memory: float) -> bool:
    """Kill ``recsys build`` of a large log over and over; returns whether the dataset is that of a calm build."""
    log = make_logs(out / f"log-{num_events}", num_events)
    config = f'[data]\nevents = "{log.resolve()}"\ntime = "timestamp"\nmemory = {memory}\n'
    (out / "large.toml").write_text(f'{config}[split]\nkind = "temporal"\nval_start = "70%"\ntest_start = "85%"\n')
    digests, seconds, killed, runs = list[str](), 0.0, 0, 0
    for folder in (out / "calm", out / "rough"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = ["build", "--config", str(out / "large.toml"), "--out", str(folder / "dataset"), "--workers", "2"]
        while True:
            began, process = time.perf_counter(), start(command)
            wait = lottery.uniform(0, seconds) if seconds and killed < kills else None
            runs += 1
            try:
                _, error = process.communicate(timeout=wait)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                killed += 1
                check_readable(folder)
                print(f"killed after {wait:.1f} of {seconds:.1f} s", flush=True)
                continue
            assert process.returncode == 0, error.decode()
            if not seconds or killed >= kills:
                break
            shutil.rmtree(folder / "dataset")  # ended by luck: once more from the start
        seconds = seconds or time.perf_counter() - began
        left = [path.name for path in folder.iterdir() if path.name != "dataset"]
        digests.append(contents(folder, "dataset/**/*.*") + "".join(left))
        shutil.rmtree(folder / "dataset")
    print(f"build of {num_events:,} events: killed {killed} times in {runs - 1} runs, then ended; "
          f"{'same' if digests[0] == digests[1] else 'DIFFERENT'}  {digests[0][:16]}")  # fmt: skip
    return digests[0] == digests[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--build-events", type=int, default=0)
    parser.add_argument("--memory", type=float, default=2.0)
    arguments = parser.parse_args()
    lottery, seconds = random.Random(arguments.seed), {}
    if arguments.build_events:
        sys.exit(not kill_builds(arguments.out, arguments.kills, lottery, arguments.build_events, arguments.memory))
    calm, rough = arguments.out / "calm", arguments.out / "rough"
    shutil.rmtree(arguments.out / "duel", ignore_errors=True)
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
            for made in MADE[stage]:  # ended by luck: once more from the start
                shutil.rmtree(rough / made, ignore_errors=True)
            if stage == "publish":
                (rough / "mlflow.db").unlink()
        print(f"{stage}: killed {kills} times in {runs} runs, then ended", flush=True)
    before, after = result(calm), result(rough)
    for key, value in before.items():
        print(f"{key}: {'same' if after[key] == value else 'DIFFERENT'}  {str(value)[:16]}")
    calm_in_the_end = kill_promotions((arguments.out / "duel").resolve(), arguments.kills, lottery)
    sys.exit(before != after or not calm_in_the_end)


if __name__ == "__main__":
    main()
