"""8 publishers and 4 promoters at once, on one sqlite registry and on one mlflow server.

    python benchmarks/races.py --trials 5 --out DIR

In every trial each publisher registers a bundle of its own and one that all of them register, and makes them
challenger, while the promoters promote the challenger or any other version. Counted are versions lost and registered
twice, errors other than "nothing challenges" and "try again", and inconsistent aliases: at no moment may a champion be
missing that once was there, in the end all must fit together and nothing be locked.
"""

import argparse
import itertools
import multiprocessing
import random
import shutil
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.contenders import LENIENT, challenge, prepare
from recsys.bundle import verify
from recsys.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from tests.tracking_server import tracking_server
from training.promotion import promote

PUBLISHERS, PROMOTERS = 8, 4
EXPECTED = {"has no challenger": "nothing challenges", "was judged; try again": "try again"}
WRONG = (
    "looks that failed", "looks without a champion", "unhandled errors", "versions lost", "versions double",
    "runs without a version", "versions without a run", "alias inconsistencies",
)  # fmt: skip
barrier: Any = None
published: Any = None


def enter(*shared: Any) -> None:
    global barrier, published
    barrier, published = shared


def publisher(uri: str, name: str, folder: Path, own: str) -> tuple[Counter[str], list[str]]:
    """Register and challenge; returns outcomes and errors."""
    done: Counter[str] = Counter()
    errors = []
    barrier.wait()
    for label in (own, "everybody's"):
        try:
            challenge(uri, name, folder, label, folder / f"{name}-{own}-{label}")
            done["published"] += 1
        except Exception:
            errors.append(traceback.format_exc())
    with published.get_lock():
        published.value += 1
    return done, errors


def promoter(uri: str, name: str, seed: int) -> tuple[Counter[str], list[str]]:
    """Promote the challenger or any version, until all have published, and once more; returns outcomes and errors."""
    lottery = random.Random(seed)
    done: Counter[str] = Counter()
    errors = []
    barrier.wait()
    last = False
    while not last:
        last = published.value == PUBLISHERS
        try:
            number = lottery.choice([None, *(version.number for version in Registry(uri).versions(name))])
            decision = promote(name, number=number, registry_uri=uri, overrides=LENIENT)
            again = decision.champion == decision.challenger
            done["champion already" if again else "promoted" if decision.promoted else "refused"] += 1
        except Exception as error:
            outcome = next((short for text, short in EXPECTED.items() if text in str(error)), None)
            if outcome is None:
                errors.append(traceback.format_exc())
            else:
                done[outcome] += 1
                time.sleep(0.2)
    return done, errors


def inconsistencies(store: Registry, name: str) -> list[str]:
    """What does not fit together when all is quiet."""
    numbers = {version.number for version in store.versions(name)}
    champion, previous, challenger = (store.version(name, alias) for alias in (CHAMPION, PREVIOUS, CHALLENGER))
    served = [change.version for change in store.changes(name)]
    locks = store.client.search_registered_models(f"name LIKE '{name}.lock%'")
    found = {
        "champion missing": champion is None,
        "champion does not exist": champion is not None and champion.number not in numbers,
        "champion is damaged": champion is not None and verify(store.bundle_path(champion)) != champion.bundle_id,
        "history ends elsewhere": champion is not None and served[-1:] != [champion.number],
        "previous is not who served before": served[-2:-1] != ([previous.number] if previous else []),
        "history repeats": any(a == b for a, b in itertools.pairwise(served)),
        "champion challenges": champion is not None and champion == challenger,
        "lock left": bool(locks),
    }
    return [text for text, true in found.items() if true]


def trial(pool: ProcessPoolExecutor, uri: str, name: str, folder: Path) -> Counter[str]:
    """One race; returns the counts and prints what went wrong."""
    labels = [str(number) for number in range(PUBLISHERS)]
    racers: list[Future[tuple[Counter[str], list[str]]]] = [
        *(pool.submit(publisher, uri, name, folder, label) for label in labels),
        *(pool.submit(promoter, uri, name, seed) for seed in range(PROMOTERS)),
    ]
    counts: Counter[str] = Counter({"trials": 1} | dict.fromkeys(WRONG, 0))
    store = Registry(uri)
    seen = False
    while not all(racer.done() for racer in racers):
        time.sleep(0.5)
        try:
            champion = store.version(name, CHAMPION)
        except ValueError as error:
            counts["looks that failed"] += 1
            print(f"  {name}: a look failed: {error}", flush=True)
            continue
        counts["looks at the champion"] += 1
        counts["looks without a champion"] += seen and champion is None
        seen = seen or champion is not None
    for done, errors in (racer.result() for racer in racers):
        counts.update(done)
        counts["unhandled errors"] += len(errors)
        for error in errors:
            print(f"  {name}: {error}", flush=True)
    versions = Counter(version.bundle_id for version in store.versions(name))
    counts["versions"] += len(versions)
    counts["versions lost"] += PUBLISHERS + 1 - len(versions)
    counts["versions double"] += sum(versions.values()) - len(versions)
    experiment = store.client.get_experiment_by_name(name)
    assert experiment is not None
    runs = {run.info.run_id for run in store.client.search_runs([experiment.experiment_id])}
    owned = {version.run_id for version in store.versions(name)}
    counts["runs without a version"] += len(runs - owned)
    counts["versions without a run"] += len(owned - runs)
    wrong = inconsistencies(store, name)
    counts["alias inconsistencies"] += len(wrong)
    for text in wrong:
        print(f"  {name}: {text}; {store.changes(name)}", flush=True)
    for path in folder.glob(f"{name}-*"):
        shutil.rmtree(path)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    prepare(out)
    context = multiprocessing.get_context("spawn")
    wrong = 0
    for setup in ("sqlite", "server"):
        start = nullcontext(f"sqlite:///{out}/mlflow.db") if setup == "sqlite" else tracking_server(out)
        gate, count = context.Barrier(PUBLISHERS + PROMOTERS), context.Value("i", 0)
        total: Counter[str] = Counter()
        with (
            start as uri,
            ProcessPoolExecutor(gate.parties, mp_context=context, initializer=enter, initargs=(gate, count)) as pool,
        ):
            for number in range(arguments.trials):
                count.value = 0
                total.update(trial(pool, uri, f"race-{number}", out))
        print(f"{setup}: {', '.join(f'{name} {value}' for name, value in total.items())}", flush=True)
        wrong += sum(total[name] for name in WRONG)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
