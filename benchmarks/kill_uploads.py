"""Kill -9 of build, train, publish and score, wholly from and to a bucket whose every answer comes late.

    nice python -m benchmarks.kill_uploads --kills 20 --latency 0.05 --out DIR [--azurite PROGRAM]

First everything runs undisturbed. Then it runs again, to other addresses of the same bucket, until there were enough
kills (from the second time on, only build and score): half of the times at a random moment, half of the times when the
command sends a request to write that was drawn from all that are left. Then it is started again, every second time with
an empty cache, as on another machine. What is there in the end must be what the undisturbed run wrote: the same files
with the same digests, by the manifests.

Meanwhile two readers, each with caches of its own, ask for every address all the time, and read all files of what they
take for whole. That must be nothing, or what the undisturbed run wrote, and nothing in between.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import obstore
import polars as pl

from benchmarks.slow_store import slow_store
from recsys import cli
from recsys.buckets import BucketFolder, FolderManifest, fetched, store
from recsys.errors import InputError
from recsys.synthetic import make_log
from serving import sources

NUM_EVENTS, PARTITION = 40_000, 6_000
CONFIG = """
data = {events = "BUCKET/log", items = "BUCKET/items.parquet", time = "timestamp", shards = 4}
model = {embedding_dim = 8, num_members = 1, num_layers = 1, max_history = 20}
loss = {num_negatives = 16}
training = {epochs = 2, batch_tokens = 2048}
registry = {name = "shop"}
"""
PRELOADED = [
    "recsys.cli", "recsys.actions.answers", "recsys.actions.outputs", "recsys.actions.pipeline", "features.build",
    "training.loop", "training.publish", "serving.batch_scoring",
]  # fmt: skip
FORKS = multiprocessing.get_context("forkserver")
STEPS = ("build", "train", "publish", "score")
SHARES = {"build": 0.3, "train": 0.1, "publish": 0.15, "score": 0.45}  # of the kills
MOST_LANES = 5
DATED = "report.html"  # says when it was made


@dataclass(frozen=True)
class Lane:
    """One way through all steps: where they write. model: the bundle to score with; None: its own."""

    bucket: str
    folder: Path
    name: str
    model: str | None = None

    def address(self, what: str) -> str:
        return f"{self.bucket}/{self.name}/{what}"

    def command(self, step: str) -> list[str]:
        run, events, bundle = str(self.folder / "run"), f"{self.bucket}/log", self.model or self.address("model/bundle")
        config = ["--config", str(self.folder / "my.toml")]
        return [step] + {
            "build": [*config, "--out", self.address("dataset")],
            "train": [*config, "--dataset", self.address("dataset"), "--out", run],
            "publish": ["--run", run, "--to", self.address("model"), "--registry", str(self.folder / "mlflow.db")],
            "score": ["--bundle", bundle, "--events", events, "--out", self.address("recs"), "--k", "20"],
        }[step]  # fmt: skip

    def written(self) -> dict[str, dict[str, str]]:
        """The digests of all files, by what they are of."""
        content = {}
        for what in ("dataset", "model", "recs"):
            manifest = BucketFolder(self.address(what)).manifest()
            content[what] = {} if manifest is None else digests(manifest)
        return content


def digests(manifest: FolderManifest) -> dict[str, str]:
    return {name: seal.sha256 for name, seal in manifest.files.items() if name != DATED}


def start(lane: Lane, step: str, cache: Path) -> ForkServerProcess:
    """Start a command in a process that is forked from one that has imported everything, and done nothing else."""
    command = lane.command(step)
    if step == "train" and (lane.folder / "run").exists():
        command += ["--resume"]
    process = FORKS.Process(target=run, args=(command, cache, lane.folder / f"{step}.txt"))
    process.start()
    return process


def run(command: list[str], cache: Path, log: Path) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ["RECSYS_CACHE"] = str(cache)
    store.READ_AT_ONCE, store.WRITE_AT_ONCE = 2 << 20, 5 << 20  # so that a large file takes several requests
    sources.EVENTS_PER_PARTITION = PARTITION
    sys.argv = ["recsys", *command]
    cli.main()


def wait(process: ForkServerProcess, log: Path) -> None:
    process.join()
    assert process.exitcode == 0, log.read_text()


def writes(requests: Path) -> list[str]:
    lines = requests.read_text().splitlines() if requests.exists() else []
    return [line for line in lines if line.startswith(("PUT", "POST", "DELETE"))]


def undisturbed(lane: Lane, requests: Path) -> dict[str, tuple[float, int]]:
    """The seconds and the number of writes of each step."""
    taken = {}
    for step in STEPS:
        before, began = len(writes(requests)), time.monotonic()
        wait(start(lane, step, lane.folder / "cache"), lane.folder / f"{step}.txt")
        taken[step] = (time.monotonic() - began, len(writes(requests)) - before)
        print(f"undisturbed {step}: {taken[step][0]:.1f} s, {taken[step][1]} requests to write", flush=True)
    return taken


def killed(
    lane: Lane, step: str, kills: int, taken: tuple[float, int], requests: Path, lottery: random.Random
) -> Counter[str]:
    """Run a step to its end, with so many kills before, or fewer if it ends before it is killed."""
    count, cache, first = Counter[str](), lane.folder / f"cache-{step}-0", len(writes(requests))
    while True:
        process, before = start(lane, step, cache), len(writes(requests))
        at_write = lottery.random() < 0.5 and taken[1] > 0
        write, until = lottery.randint(1, max(1, taken[1] - before + first)), lottery.uniform(0, 0.9) * taken[0]
        began = time.monotonic()
        while process.is_alive() and count["kills"] < kills:
            if len(writes(requests)) - before >= write if at_write else time.monotonic() - began > until:
                process.kill()
                break
            time.sleep(0.02)
        process.join()
        if process.exitcode != -signal.SIGKILL:
            wait(process, lane.folder / f"{step}.txt")
            return count
        count["kills"] += 1
        count[f"kills, {'while it sent a request to write' if at_write else 'at a random moment'}"] += 1
        count[f"kills of {step}"] += 1
        if count["kills"] % 2:
            cache = lane.folder / f"cache-{step}-{count['kills']}"
            count["starts with an empty cache"] += 1


def read_on(lanes: list[Lane], expected: dict[str, dict[str, str]], number: int, stop: Event, report: Path) -> None:
    """Read what there is until told to stop. Everything but nothing, or all that is expected, is wrong."""
    count = Counter[str]()
    os.environ["RECSYS_CACHE"] = str(cache := report.with_suffix(""))
    while not stop.is_set():
        for lane, (what, files) in itertools.product(lanes, expected.items()):
            address = lane.address(what)
            try:
                fetched(address)
            except InputError as error:
                count["nothing" if str(error).startswith("nothing finished at") else f"WRONG: {error}"] += 1
                continue
            manifest = BucketFolder(address).manifest()
            whole = manifest is not None and digests(manifest) == files
            count["whole" if whole else f"WRONG: {what} is not what was expected"] += 1
            shutil.rmtree(cache)
    report.write_text(json.dumps(count))


def tables() -> dict[str, pl.DataFrame]:
    """A log in two files, and items whose texts make a dataset and a bundle of many megabytes."""
    log = make_log(seed=0, num_users=800, num_items=500, num_events=NUM_EVENTS)
    texts = random.Random(0)
    item_ids = log.get_column("item_id").unique().sort()
    items = pl.DataFrame([item_ids, pl.Series("about", [texts.randbytes(12_000).hex() for _ in item_ids])])
    return {"log/0.parquet": log.head(25_000), "log/1.parquet": log.tail(15_000), "items.parquet": items}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds added to every answer of the store")
    parser.add_argument("--azurite", type=Path, help="the program azurite-blob, for az:// in place of s3://")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    out, lottery = arguments.out.resolve(), random.Random(arguments.seed)
    shutil.rmtree(out, ignore_errors=True)
    requests, multi = out / "requests.txt", multiprocessing.get_context("spawn")
    out.mkdir(parents=True)
    FORKS.set_forkserver_preload(PRELOADED)
    with slow_store(arguments.latency, requests, arguments.azurite) as bucket:
        os.environ["RECSYS_CACHE"] = str(out / "cache")
        objects = obstore.store.from_url(bucket)
        for name, table in tables().items():
            table.write_parquet(out / "table.parquet")
            obstore.put(objects, name, out / "table.parquet")
        warm = FORKS.Process(target=time.sleep, args=(0,))  # imports everything, once
        warm.start()
        warm.join()
        names = ["undisturbed", *(f"killed-{number}" for number in range(MOST_LANES))]
        lanes = [Lane(bucket, out / name, name) for name in names]
        for lane in lanes:
            lane.folder.mkdir()
            (lane.folder / "my.toml").write_text(CONFIG.replace("BUCKET", bucket))
        taken = undisturbed(lanes[0], requests)
        expected = lanes[0].written()
        assert all(expected.values())
        stop, reports = multi.Event(), [out / f"reader-{number}.json" for number in range(2)]
        readers = [
            multi.Process(target=read_on, args=(lanes[1:], expected, number, stop, report))
            for number, report in enumerate(reports)
        ]
        for reader in readers:
            reader.start()
        count, before = Counter[str](), len(writes(requests))
        used = []
        for lane in lanes[1:]:
            left = arguments.kills - count["kills"]
            if left <= 0:
                break
            used.append(lane)
            model = lanes[1].address("model/bundle")
            for step, share in (SHARES if lane is lanes[1] else {"build": 0.4, "score": 1.0}).items():
                kills = arguments.kills - count["kills"] if step == "score" else round(share * left)
                count += killed(replace(lane, model=model), step, kills, taken[step], requests, lottery)
                print(f"{lane.name}, {step}: done after {count['kills']} kills in all", flush=True)
        sent = writes(requests)[before:]
        time.sleep(5 + 20 * arguments.latency)
        stop.set()
        for reader in readers:
            reader.join()
        different, named = compared(used, lanes[1], expected)
        paths = [Path(meta["path"]) for meta in obstore.list(objects, None).collect()]
        left_over = [str(path) for path in paths if path.parts[0].startswith("killed") and path.name not in named]
    tell_writes(count, sent, sum(taken[step][1] for step in STEPS))
    print(f"{len(left_over):6d}  objects that no manifest names: {left_over}")
    seen = sum((Counter(json.loads(report.read_text())) for report in reports), Counter[str]())
    for name, number in sorted(seen.items()):
        print(f"{number:6d}  times, readers saw: {name}")
    print(f"DIFFERENT: {different}" if different else "the same files as undisturbed")
    sys.exit(bool(different) or any(name.startswith("WRONG") for name in seen))


def compared(used: list[Lane], first: Lane, expected: dict[str, dict[str, str]]) -> tuple[list[str], set[str]]:
    """What lanes wrote otherwise than the undisturbed one, and the names of all parts that a manifest names."""
    different, named = [], {"manifest.json"}
    for lane in used:
        for what, files in lane.written().items():
            if files != expected[what] and (what != "model" or lane is first):
                different.append(f"{lane.name}/{what}")
            manifest = BucketFolder(lane.address(what)).manifest()
            if manifest is not None:
                named |= {f"{seal.sha256}-{Path(name).name}" for name, seal in manifest.files.items()}
    return different, named


def tell_writes(count: Counter[str], sent: list[str], undisturbed: int) -> None:
    """Print what was killed, and the requests to write."""
    for name, number in sorted(count.items()):
        print(f"{number:6d}  {name}")
    keys = [line.partition("?") for line in sent if "/parts/" in line]
    whole = Counter(key for key, query, _ in keys if key.startswith("PUT") and not query)
    begun = [key for key, _, query in keys if key.startswith("POST") and query.startswith("uploads")]  # of S3
    print(f"{undisturbed:6d}  requests to write, undisturbed")
    print(f"{len(sent):6d}  requests to write, with kills")
    print(f"{sum(whole.values()):6d}  uploads of a part in one request, of {len(whole)} parts")
    print(f"{len(begun):6d}  uploads of a part in several requests that were begun, of {len(set(begun))} parts")


if __name__ == "__main__":
    main()
