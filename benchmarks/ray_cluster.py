"""A pseudo cluster of two nodes, both of them this machine: killed workers, a node that is removed, and the speed.

    python -m benchmarks.ray_cluster kills --out DIR
    python -m benchmarks.ray_cluster speed --out DIR

``kills`` builds a dataset and scores its users while workers are killed by SIGKILL at random moments and a node is
removed, and compares every byte with what this machine alone makes. ``speed`` builds and scores in turns: here, on one
node and on two, of one processor each.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.build_memory import make_logs

os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}  # read when a node starts
NODE = {"num_cpus": 1, "object_store_memory": 200 << 20, "include_dashboard": False}
ITEMS, K, SHARDS, EVENTS_PER_PARTITION = 10_000, 10, 16, 500_000


@contextmanager
def cluster_of(num_nodes: int) -> Iterator[Any]:
    """A cluster to which this process is connected."""
    from ray.cluster_utils import Cluster

    from recsys.ray_cluster import connected

    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    for _ in range(num_nodes - 1):
        cluster.add_node(**NODE)
    with connected(cluster.address):
        yield cluster
    cluster.shutdown()


class Killer(threading.Thread):
    """Kills workers that have a task at random moments, and removes the second node once, until told to stop."""

    def __init__(self, cluster: Any, kills: int, removes: bool, seed: int) -> None:
        super().__init__(daemon=True)
        self.cluster, self.most, self.removes = cluster, kills, removes
        self.random, self.stop, self.killed, self.removed = random.Random(seed), threading.Event(), 0, 0

    def run(self) -> None:
        """Kill one worker after the other."""
        while self.killed < self.most and not self.stop.wait(self.random.uniform(0.2, 3.0)):
            busy = working(self.cluster)
            if busy:
                os.kill(self.random.choice(busy), signal.SIGKILL)
                self.killed += 1
            if self.removes and not self.removed and self.killed >= self.most // 2:
                self.removed = 1
                self.cluster.remove_node(self.cluster.worker_nodes.copy().pop(), allow_graceful=False)


def working(cluster: Any) -> list[int]:
    """The processes of the cluster's nodes that have a task now."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and (folder / "cmdline").read_text().startswith("ray::_task"):
                found.append(int(folder.name))
        except (OSError, ValueError):  # it has ended meanwhile
            continue
    return found


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file."""
    from recsys.files import sha256

    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


class Jobs:
    """What is run, here and on a cluster."""

    def __init__(self, out: Path, num_events: int) -> None:
        from benchmarks.speed.query import world
        from features import on_ray
        from recsys.bundle import save_bundle
        from recsys.config import parse_config
        from recsys.retriever import RetrieverSource
        from serving import sources

        on_ray.ROWS_AT_ONCE, sources.EVENTS_PER_PARTITION = 1_000_000, EVENTS_PER_PARTITION
        self.out, self.events = out, make_logs(out / f"events-{num_events}", num_events)
        split = {"kind": "temporal", "val_start": "70%", "test_start": "85%"}
        data = {"events": str(self.events), "time": "timestamp", "shards": SHARDS}
        self.config = parse_config({"data": data, "split": split}, "benchmark")
        self.scored = out / f"scored-{num_events}.parquet"
        if not (out / "bundle").exists():
            save_bundle(world(ITEMS, num_members=1)[0], out / "bundle")
        if not self.scored.exists():  # with the names and types that the bundle knows
            log, user_id = pl.scan_parquet(self.events / "*.parquet"), pl.col("user_id").str.strip_prefix("u")
            log.rename({"timestamp": "time"}).with_columns(user_id.cast(pl.Int64)).sink_parquet(self.scored)
        self.source = RetrieverSource(str(out / "bundle")).fixed()
        self.retriever = self.source.load()

    def build(self, name: str, engine: str) -> Path:
        """engine: "ray", or how many processes."""
        from features.build import build
        from features.on_ray import build_on_ray

        out = self._fresh(f"dataset-{name}")
        if engine == "ray":
            build_on_ray(self.config, out, None)
        else:
            build(self.config, out, workers=int(engine))
        return out

    def score(self, name: str, engine: str) -> Path:
        """engine: "ray", or anything else for this process."""
        from serving.batch_scoring import in_this_process, score
        from serving.on_ray import on_ray

        out = self._fresh(f"recs-{name}")
        run = on_ray(self.source, None, None) if engine == "ray" else in_this_process
        score(self.retriever, out, events=str(self.scored), k=K, run=run)
        return out

    def _fresh(self, name: str) -> Path:
        shutil.rmtree(self.out / name, ignore_errors=True)
        return self.out / name


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


def kills(jobs: Jobs, names: list[str], num_kills: int, seed: int) -> None:
    """Kill, remove a node, and compare."""
    from recsys.files import read_json

    for name in names:
        job = getattr(jobs, name)
        expected, killed, run = contents(job("local", "1")), 0, 0
        while killed < num_kills:
            with cluster_of(2) as cluster:
                killer = Killer(cluster, num_kills - killed, removes=run == 0, seed=seed + run)
                killer.start()
                began = time.perf_counter()
                out = job("killed", "ray")
                killer.stop.set()
                killer.join()
            killed, run = killed + killer.killed, run + 1
            same = contents(out) == expected
            say(
                f"{name} {run}: {killer.killed} workers killed, {killer.removed} nodes removed, "
                f"{time.perf_counter() - began:.0f} s, every byte the same: {same}"
            )
        if name == "score":
            say(f"users: {read_json(out / 'manifest.json')['totals']['users']:,}")


def speed(jobs: Jobs, rounds: int) -> None:
    """Build and score in turns."""
    seconds: dict[str, list[float]] = {}

    def timed(label: str, job: Callable[[str, str], Path], engine: str) -> None:
        began = time.perf_counter()
        job("speed", engine)
        seconds.setdefault(label, []).append(time.perf_counter() - began)
        say(f"{label}: {seconds[label][-1]:.1f} s, load {os.getloadavg()[0]:.1f}")

    for _ in range(rounds):
        for workers in ("1", "2"):
            timed(f"build here, {workers} processes", jobs.build, workers)
        timed("score here", jobs.score, "1")
        for num_nodes in (1, 2):
            with cluster_of(num_nodes):
                timed(f"build on {num_nodes} nodes, workers just started", jobs.build, "ray")
                timed(f"build on {num_nodes} nodes", jobs.build, "ray")
                timed(f"score on {num_nodes} nodes, workers load the bundle", jobs.score, "ray")
                timed(f"score on {num_nodes} nodes", jobs.score, "ray")
    for label, each in seconds.items():
        say(f"{label}: median {statistics.median(each):.1f} s of {', '.join(f'{one:.1f}' for one in each)}")


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kills", "speed"))
    parser.add_argument("--jobs", nargs="+", default=["build", "score"])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a folder, whose log and bundle are used again")
    options = parser.parse_args()
    jobs = Jobs(options.out.absolute(), options.events)
    if options.what == "kills":
        kills(jobs, options.jobs, options.kills, options.seed)
    else:
        speed(jobs, options.rounds)


if __name__ == "__main__":
    main()
