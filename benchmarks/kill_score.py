"""Kill -9 of `recsys score` on a log of two million events, a quarter of the time while its input changes.

    nice python benchmarks/kill_score.py --kills 200 --lanes 4 --out DIR

Every trial starts `recsys score` in an empty folder on a log of two files, kills it at up to five random moments and
starts it again, until it ends by itself. It must end with code 0 and exactly the files that an undisturbed run writes
for the input which its state.json names, or refuse with code 2. In about a quarter of the kills the input changes at a
random moment before: a file is cut, replaced, overwritten in place with its time stamp restored, touched, moved away
and back, or one is added.

A run is a process of its own: its arguments are a command line's, and it is forked from one that has imported the
command line and done nothing else, which saves half of its time; every tenth is a fresh interpreter.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import recsys.actions.answers  # noqa: F401  with this and the next, a forked run has nothing left to import
import serving.batch_scoring  # noqa: F401
from features.build import build
from recsys import cli
from recsys.config import parse_config
from recsys.synthetic import make_log
from serving import sources
from training import loop, publish
from training.checkpoints import checkpoint
from training.description import TrainingDescription

NUM_EVENTS, NUM_USERS, NUM_ITEMS = 2_000_000, 3_000, 300
PARTITION = 700_000  # events, so that there are several partitions
CHANGES = ("cut", "replace", "overwrite", "touch", "away", "add")


def prepare(out: Path) -> None:
    """Write the log, another one that replaces a file of it, and a bundle trained for one epoch."""
    log = make_log(seed=0, num_users=NUM_USERS, num_items=NUM_ITEMS, num_events=NUM_EVENTS)
    (out / "original").mkdir(parents=True)
    log.head(1_200_000).write_parquet(out / "original" / "a.parquet")
    log.tail(800_000).write_parquet(out / "original" / "b.parquet", compression="uncompressed")
    log.tail(500_000).write_parquet(out / "other.parquet")
    log.filter(pl.col("user_id") < 100).write_parquet(out / "train.parquet")
    config = parse_config(
        {
            "data": {"events": str(out / "train.parquet"), "time": "timestamp"}, "model": {"embedding_dim": 8},
            "training": {"epochs": 1}, "loss": {"num_negatives": 8},
        },
        "the benchmark",
    )  # fmt: skip
    loop.train(config, build(config, out / "dataset"), out / "run")
    weights = checkpoint.load(out / "run" / "model.safetensors")
    publish.seal(TrainingDescription.read(out / "run"), weights, out / "bundle")


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file in a folder of scores, hidden ones included."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(out: Path, log: Path, lane: Path, *, fresh: bool) -> int:
    """Start ``recsys score`` in a process group of its own; return its id."""
    command = ["score", "--bundle", str(out / "bundle"), "--events", str(log), "--out", str(lane / "recs"), "--k", "10"]
    child = os.fork()
    if child:
        with suppress(OSError):  # it has ended already
            os.setpgid(child, child)
        return child
    os.setpgid(0, 0)
    with (lane / "stderr.txt").open("ab") as file:
        os.dup2(file.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if fresh:
        code = f"from serving import sources; sources.EVENTS_PER_PARTITION = {PARTITION}; "
        code += "from recsys import cli; cli.main()"
        os.execv(sys.executable, [sys.executable, "-c", code, *command])
    sources.EVENTS_PER_PARTITION = PARTITION
    sys.argv = ["recsys", *command]
    try:
        cli.main()
    except SystemExit as ended:
        sys.stderr.flush()
        os._exit(int(ended.code or 0))
    os._exit(1)


def wait(process: int, seconds: float) -> int | None:
    """The exit code of a process that ends within some seconds; None if it does not."""
    until = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.005)


def change(kind: str, log: Path, out: Path) -> None:
    """Change the log as ``kind`` says; only "away" and "touch" leave its content as it was."""
    file = log / "b.parquet"
    size, times = file.stat().st_size, (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    if kind == "cut":
        os.truncate(file, size // 2)
    elif kind == "replace":
        shutil.copy(out / "other.parquet", log / ".new")
        (log / ".new").rename(file)
    elif kind == "overwrite":
        with file.open("r+b") as opened:
            opened.seek(size // 2)
            opened.write(b"nothing silent")
        os.utime(file, ns=times)
    elif kind == "touch":
        os.utime(file)
    elif kind == "away":
        file.rename(log / ".away")
        time.sleep(0.3)
        (log / ".away").rename(file)
    else:
        shutil.copy(out / "other.parquet", log / ".new")
        (log / ".new").rename(log / "c.parquet")


@dataclass(frozen=True)
class Expected:
    """What undisturbed runs write, by the digest of the input in their state.json, and the seconds that one takes."""

    by_digest: dict[str, dict[str, str]]
    seconds: float


def undisturbed(out: Path) -> Expected:
    """Score the log as it is, and as every change that lasts leaves it."""
    by_digest, seconds = {}, []
    for kind in (None, "replace", "add", "cut", "overwrite"):
        lane, began = out / f"undisturbed-{kind}", time.monotonic()
        shutil.copytree(out / "original", lane / "log")
        if kind is not None:
            change(kind, lane / "log", out)
        code = wait(run(out, lane / "log", lane, fresh=kind is None), 3_000)
        seconds.append(time.monotonic() - began)
        print(f"undisturbed, {kind or 'as it is'}: exit code {code} after {seconds[-1]:.0f} s", flush=True)
        assert code == 0 or (code == 2 and kind in ("cut", "overwrite")), (lane / "stderr.txt").read_text()
        if code == 0:
            by_digest[digest_in(lane / "recs")] = contents(lane / "recs")
    return Expected(by_digest, seconds[1])


def known(out: Path, lane: Path, expected: Expected) -> dict[str, str] | None:
    """What an undisturbed run writes for the input of the lane's scores: several changes may have made it."""
    digest, beside = digest_in(lane / "recs"), lane.with_name(f"{lane.name}-undisturbed")
    if digest not in expected.by_digest:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(lane / "log", beside / "log")
        if wait(run(out, beside / "log", beside, fresh=False), 3_000) == 0:
            expected.by_digest[digest_in(beside / "recs")] = contents(beside / "recs")
    return expected.by_digest.get(digest)


def digest_in(recs: Path) -> str:
    return str(json.loads((recs / "state.json").read_text())["digest"])


def trial(out: Path, lane: Path, expected: Expected, lottery: random.Random, count: Counter[str]) -> None:
    """Score one log to its end, with kills and changes in between; count what came of it."""
    shutil.rmtree(lane, ignore_errors=True)
    shutil.copytree(out / "original", lane / "log")
    kills = lottery.randint(1, 5)
    while True:
        process, last = run(out, lane / "log", lane, fresh=lottery.random() < 0.1), kills <= 0
        moment, disturbed = lottery.uniform(0, expected.seconds), lottery.random() < 0.25
        code = None
        if not last and disturbed:
            before = lottery.uniform(0, moment)
            code = wait(process, before)
            kind = lottery.choice(CHANGES)
            change(kind, lane / "log", out)
            count[f"changed: {kind}"] += 1
            moment -= before
        if code is None:
            code = wait(process, 3_000 if last else moment)
        if code is None:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            kills -= 1
            count["killed"] += 1
            count["killed, after a change of the input"] += disturbed
            continue
        text = (lane / "stderr.txt").read_text(errors="replace")
        if code == 0 and contents(lane / "recs") == known(out, lane, expected):
            count["ended with the expected bytes"] += 1
        elif code == 2 and "Traceback" not in text:
            count["ended with a refusal"] += 1
            reason = [line for line in text.splitlines() if line.startswith("error: ")][-1]
            count[f"refusal: {' '.join(reason.replace(str(lane), '').split()[1:9])}"] += 1
        else:
            count["WRONG"] += 1
            shutil.copytree(lane, out / f"wrong-{lane.name}-{sum(count.values())}")
            print(f"WRONG: exit code {code}\n{text}", flush=True)
        return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--lanes", type=int, default=2, help="trials at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    assert os.waitpid(fork(prepare, out), 0)[1] == 0  # in a child: whoever forks may not have used Polars
    expected = undisturbed(out)
    share = -(-arguments.kills // arguments.lanes)
    lanes = [fork(trials, out, number, expected, share, arguments.seed) for number in range(arguments.lanes)]
    failed = [lane for lane in lanes if os.waitpid(lane, 0)[1]]
    total = sum((Counter(json.loads(path.read_text())) for path in out.glob("lane-*.json")), Counter())
    for name, number in sorted(total.items()):
        print(f"{number:5d}  {name}")
    sys.exit(bool(failed) or bool(total["WRONG"]))


def fork(function: Callable[..., None], *arguments: object) -> int:
    """Call a function in a child process; return its id."""
    child = os.fork()
    if not child:
        try:
            function(*arguments)
            os._exit(0)
        finally:  # after an exception
            traceback.print_exc()
            os._exit(1)
    return child


def trials(out: Path, number: int, expected: Expected, kills: int, seed: int) -> None:
    """One trial after the other until enough were killed; the counts so far are in a file."""
    lottery, count = random.Random(1_000 * seed + number), Counter[str]()
    while count["killed"] < kills:
        trial(out, out / f"lane-{number}", expected, lottery, count)
        count["trials"] += 1
        (out / f"lane-{number}.json").write_text(json.dumps(count))


if __name__ == "__main__":
    main()
