"""Hot swaps under load: errors, mixed answers, memory, bad versions, a registry that is down.

    python -m benchmarks.serve.swaps --swaps 500 --out DIR
    python -m benchmarks.serve.swaps --swaps 100 --engine ray --workers 2 --out DIR

A registry holds versions whose answers differ. A load of constant rate runs in this process, while the alias moves from
one to the next; every answer's items and scores must be those of the version and bundle that it names.
Then versions that must not serve are offered: one with wrong recorded answers, one with files that were damaged after
it was registered, one with an entry that no model has. In the end, the registry is taken away.
"""

import argparse
import collections
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.serve.load import Generator, run
from benchmarks.serve.servers import Running, ours, running
from benchmarks.speed.query import world
from recsys.bundle import save_bundle
from recsys.bundle.seal import seal
from recsys.registry import CHAMPION, Registry
from recsys.registry.runs import RunRecord
from recsys.retriever import GoldenAnswers, Retriever
from recsys.search import ItemIndex

NAME, REQUESTS, K = "swapped", 200, 10
GOOD = (1, 2, 4)  # three good ones in turn, so that none is still there as the previous one
WRONG_ANSWERS, DAMAGED, WRONG_SCHEMA = 3, 5, 6
BAD = {"wrong recorded answers": WRONG_ANSWERS, "damaged files": DAMAGED, "a wrong schema": WRONG_SCHEMA}


@dataclass(frozen=True)
class Offered:
    """What can be promoted. expected: by bundle id, the items of each request."""

    registry: Registry
    expected: dict[str, list[list[str]]]
    bodies: list[bytes]


def prepare(folder: Path, uri: str, num_items: int) -> Offered:
    """Publish versions with different vectors, some of which must not serve."""
    registry, expected = Registry(uri), {}
    bundle, histories = world(num_items, num_members=2)
    asked = [history[: 5 + number % 40] for number, history in enumerate(histories[:REQUESTS])]
    for number in range(6):
        vectors = np.roll(bundle.item_vectors, 7 * number, axis=1).copy()
        changed = replace(bundle, item_vectors=vectors, index=ItemIndex.build(vectors, kind="exact"))
        path, records = folder / f"bundle-{number}", folder / f"records-{number}"
        save_bundle(changed, path)
        records.mkdir()
        retriever = Retriever.load(path)
        GoldenAnswers.of(retriever, pl.Series(asked[:10])).write(records)
        bundle_id = retriever.bundle_id
        if number + 1 == WRONG_SCHEMA:
            model = json.loads((path / "model.json").read_text())
            (path / "model.json").write_text(json.dumps(model | {"model": model["model"] | {"num_towers": 3}}))
            (path / "manifest.json").unlink()
            bundle_id = seal(path)
        if number + 1 == WRONG_ANSWERS:
            golden = records / GoldenAnswers.FILE
            wrong = json.loads(golden.read_text())
            golden.write_text(json.dumps(wrong | {"item_ids": wrong["item_ids"][::-1]}))
        record = RunRecord({}, {"recall": 0.5}, [], [(records / GoldenAnswers.FILE, "records")], {}, "", ("log", "d"))
        version = registry.publish(NAME, path, bundle_id, record)
        if number + 1 == DAMAGED:
            (weights,) = folder.rglob(f"*{version.run_id}*/**/weights.safetensors")
            content = bytearray(weights.read_bytes())
            content[len(content) // 2] ^= 1
            weights.write_bytes(content)
        expected[retriever.bundle_id] = retriever.recommend(asked, k=K).item_ids.to_list()
    return Offered(registry, expected, [json.dumps({"history": one, "k": K}).encode() for one in asked])


@contextmanager
def loaded(server: Running, offered: Offered, rate: float, seconds: float) -> Iterator[Callable[[], Generator]]:
    """A load while the body runs; yields a function that waits for its end."""
    generator = Generator(server.port, "/v1/recommend", offered.bodies, 64)
    generator.keep_answers = True
    thread = threading.Thread(target=run, args=(generator, rate, seconds))
    thread.start()

    def ended() -> Generator:
        thread.join()
        return generator

    yield ended
    thread.join()


def version_of(server: Running) -> int:
    """What the service says that it serves."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health/ready", timeout=20) as answer:
        return int(json.load(answer)["version"])


def promote(server: Running, offered: Offered, number: int, looks: int = 1) -> float:
    """Move the alias and wait until so many looks in a row, each at any worker, see the version; returns seconds."""
    offered.registry.move(NAME, CHAMPION, offered.registry.numbered(NAME, number))
    began = time.perf_counter()
    while not all(version_of(server) == number for _ in range(looks)):
        if time.perf_counter() - began > 60:
            raise RuntimeError(f"version {number} does not serve after a minute")
        time.sleep(0.02)
    return time.perf_counter() - began


def judge(generator: Generator, offered: Offered) -> collections.Counter[str]:
    """Answers by what is right or wrong with them."""
    verdicts: collections.Counter[str] = collections.Counter()
    for status, count in generator.statuses.items():
        if status != 200 and count:
            verdicts[f"status {status}"] += count
    for body, raw in generator.answers:
        answer = json.loads(raw)
        if "items" in answer:
            items = [item["item_id"] for item in answer["items"]]
            is_right = items == offered.expected[answer["bundle_id"]][body]
            verdicts[f"right, of version {answer['version']}" if is_right else "MIXED"] += 1
    return verdicts


def main() -> None:
    """Swap, offer what must not serve, take the registry away, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swaps", type=int, default=500)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--poll", type=float, default=0.05, help="seconds between two looks at the registry")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    database = options.out / "mlflow.db"
    offered = prepare(options.out, f"sqlite:///{database}", options.items)
    offered.registry.move(NAME, CHAMPION, offered.registry.numbered(NAME, 1))
    command = ours(f"models:/{NAME}@{CHAMPION}", "--registry", f"sqlite:///{database}", "--engine", options.engine,
                   "--cache", str(options.out / "cache"), "--workers", str(options.workers))  # fmt: skip
    if options.engine == "local":  # in the workers of a cluster, the time between two looks stays what it is
        command[1:3] = ["-m", "benchmarks.serve.polling", str(options.poll)]
    with running(command, "/health/ready", log=options.out / "serve.log") as server:
        seconds, memory = [], [server.rss_mib()]
        total: collections.Counter[str] = collections.Counter()
        done = 0
        while done < options.swaps:
            with loaded(server, offered, options.rate, 10) as ended:
                until = time.perf_counter() + 9.5
                while done < options.swaps and time.perf_counter() < until:
                    done += 1
                    seconds.append(promote(server, offered, GOOD[done % 3], 1 if options.workers == 1 else 20))
                total += judge(ended(), offered)
            memory.append(server.rss_mib())
        sys.stdout.write(f"{done} swaps: {dict(total)}\n")
        sys.stdout.write(f"seconds to a swap: median {np.median(seconds):.2f}, most {max(seconds):.2f}\n")
        sys.stdout.write(f"resident MiB: {', '.join(f'{mib:.0f}' for mib in memory)}\n")
        sys.stdout.flush()
        refuse(server, offered, options.rate, database)


def refuse(server: Running, offered: Offered, rate: float, database: Path) -> None:
    """Offer each version that must not serve, then take the registry away, under load."""
    for what, number in BAD.items():
        before = version_of(server)
        with loaded(server, offered, rate, 8) as ended:
            offered.registry.move(NAME, CHAMPION, offered.registry.numbered(NAME, number))
            time.sleep(6)
            after = version_of(server)
            verdicts = judge(ended(), offered)
        sys.stdout.write(f"{what}: version {before} then {after}, {dict(verdicts)}\n")
        sys.stdout.flush()
    with loaded(server, offered, rate, 12) as ended:
        database.rename(database.with_suffix(".away"))
        time.sleep(8)
        database.with_suffix(".away").rename(database)
        verdicts = judge(ended(), offered)
    sys.stdout.write(f"no registry for 8 seconds: {dict(verdicts)}\n")


if __name__ == "__main__":
    main()
