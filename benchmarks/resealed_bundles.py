"""Bundles that somebody changed and sealed again: each is refused in one line, or is a sound bundle with other content.

    python -m benchmarks.resealed_bundles --mutations 1000 --out DIR

A small model is trained, and sealed with an exact, an IVF and an HNSW index, and EASE beside it. Every mutation
(bundle_mutations.py) changes a copy of one of them as a bug or an attacker could, and gives it a new seal. Then a
process of its own loads it and asks for every kind of answer. It is forked from one that has only imported the library,
so that the CPU time and memory of a child are those of loading and answering. Reported are signals, time-outs,
exceptions that are no refusal, the most CPU time and memory, and what kinds of mutation left a sound bundle.
"""

import argparse
import collections
import importlib
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.bundle_mutations import mutate
from recsys.bundle import Bundle, load_bundle, save_bundle
from recsys.errors import BundleError, InputError
from recsys.retriever import Retriever
from recsys.search import ItemIndex

KINDS = ("exact", "ivf", "hnsw", "ease")
MAX_CPU, MAX_MEMORY, MAX_WALL = 5.0, 1 << 30, 120.0  # seconds, bytes, seconds


@dataclass(frozen=True)
class Outcome:
    """What became of a mutated bundle. verdict: refused, refused when asked, sound, or what should not be."""

    mutation: str
    verdict: str
    detail: str
    cpu: float
    memory: int


def bundles(source: Path, out: Path) -> dict[str, Path]:
    """The bundle at ``source`` with an index of each kind."""
    bundle, _ = load_bundle(source)
    for kind in KINDS[:3]:
        index = ItemIndex.build(np.asarray(bundle.item_vectors), kind=kind)
        save_bundle(replace(bundle, index=index), out / kind)
    return {kind: out / kind for kind in KINDS if (out / kind).exists()}


# Answers


def load_and_ask(folder: Path) -> str:
    """Load a bundle and ask it everything; returns the verdict."""
    try:
        retriever = Retriever.load(folder)
    except BundleError as error:
        return f"refused {one_line(error)}"
    try:
        ask(retriever)
    except InputError as error:
        return f"refused when asked {one_line(error)}"
    return "sound"


def one_line(error: Exception) -> str:
    message = str(error)
    assert "\n" not in message
    return message


def ask(retriever: Retriever) -> None:
    """Every kind of answer, and everything that is shown of it."""
    ids = retriever.bundle.encoder.item_ids
    histories = [ids.head(3).to_list(), ids.tail(2).to_list(), [], ids.to_list()]
    for answers in (
        retriever.recommend(histories[:1], k=5),
        retriever.recommend(histories * 3, k=len(ids) + 5, exclude=ids.head(1)),
        retriever.similar_items(ids.head(2), k=5),
        *([retriever.search_text(["the sea", ""], k=5)] if isinstance(retriever.bundle, Bundle) else []),
    ):
        answers.to_frame()
        repr(answers)
        answers._repr_html_()
    retriever.explain(ids.head(3), ids[-1])
    for name, dtype in retriever.bundle.items.schema.items():
        operator, value = ("contains", "t1") if isinstance(dtype, pl.List) else ("==", retriever.bundle.items[name][0])
        if value is not None:
            with _allowing(InputError):  # the value may not suit a changed column
                retriever.recommend(histories, where=[(name, operator, value)])
    retriever.titles_of(ids)


@contextmanager
def _allowing(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        one_line(error)
        if isinstance(error, BundleError):
            raise


def in_a_child(work: Callable[[], str]) -> tuple[str, float, int]:
    """Run ``work`` in a fork; returns its result or what ended it, its CPU seconds, and the memory that it added."""
    before = _resident()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            result = work()
        except BaseException as error:
            result = f"WRONG {type(error).__name__}: {str(error)[:300]}"
        os.write(write, result.encode("utf-8", "replace")[:60_000])
        os._exit(0)
    os.close(write)
    timer = time.monotonic() + MAX_WALL
    while not (done := os.wait4(child, os.WNOHANG))[0]:
        if time.monotonic() > timer:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    _, status, usage = done
    with os.fdopen(read, "rb") as pipe:
        result = pipe.read().decode()
    if os.WIFSIGNALED(status):
        result = f"WRONG signal {signal.Signals(os.WTERMSIG(status)).name}"
    return result or "WRONG nothing", usage.ru_utime + usage.ru_stime, max(0, usage.ru_maxrss * 1024 - before)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def outcome(source: Path, folder: Path, seed: int) -> Outcome:
    """Mutate a copy of a bundle at ``folder``, and see what becomes of it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    mutation, _, _ = in_a_child(lambda: mutate(folder, seed))
    assert not mutation.startswith("WRONG"), f"{mutation} of seed {seed}"
    result, cpu, memory = in_a_child(lambda: load_and_ask(folder))
    verdict = next((v for v in ("refused when asked", "refused", "sound") if result.startswith(v)), "WRONG")
    if cpu > MAX_CPU or memory > MAX_MEMORY:
        verdict = "WRONG"
    return Outcome(f"{source.name}, {mutation}", verdict, result, cpu, memory)


def import_what_answers_need(bundle: Path) -> None:
    """Import here what loading and answering import late, so that children need not; they are what is measured."""

    def modules() -> str:
        load_and_ask(bundle)
        return " ".join(sys.modules)

    for name in in_a_child(modules)[0].split():
        if name not in sys.modules and name.partition(".")[0] not in ("__main__", "__mp_main__"):
            with suppress(ImportError):
                importlib.import_module(name)


def train_one(out: Path) -> None:
    """Train a small model with every kind of column, and seal its bundle at ``out``/run/bundle."""
    from features.build import build
    from recsys.config import parse_config
    from recsys.synthetic import make_world
    from training import loop, publish
    from training.checkpoints import checkpoint
    from training.description import TrainingDescription
    from training.evaluation import BASELINES
    from training.publish_baseline import seal_baseline

    world = make_world(seed=0, num_users=300, num_items=200)
    for name in ("events", "items"):
        getattr(world, name).write_parquet(out / f"{name}.parquet")
    item = [{"name": "genre", "kind": "categorical"}, {"name": "tags", "kind": "multi_categorical"},
            {"name": "title", "kind": "text"}, {"name": "year", "kind": "numeric"}]  # fmt: skip
    config = parse_config(
        {
            "data": {"time": "timestamp"} | {n: str(out / f"{n}.parquet") for n in ("events", "items")},
            "features": {"item": item}, "model": {"embedding_dim": 16}, "training": {"epochs": 1},
        },
        "benchmark",
    )  # fmt: skip
    dataset = build(config, out / "run" / "dataset")
    loop.train(config, dataset, out / "run")
    seal_baseline(next(baseline for baseline in BASELINES if baseline.name == "ease"), dataset, out / "ease")
    trained = checkpoint.load(out / "run" / "model.safetensors")
    publish.seal(TrainingDescription.read(out / "run"), trained, out / "run" / "bundle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    def prepare() -> str:
        train_one(options.out)
        bundles(options.out / "run" / "bundle", options.out)
        return "done"

    if not all((options.out / kind / "manifest.json").exists() for kind in KINDS):
        print("prepared:", in_a_child(prepare)[0])  # in a child: a process that used Polars cannot be forked
    import_what_answers_need(options.out / KINDS[0])
    outcomes = []
    for seed in range(options.first_seed, options.first_seed + options.mutations):
        source = options.out / KINDS[seed % len(KINDS)]
        outcomes.append(outcome(source, options.out / f"mutated-{options.first_seed}", seed))
        if outcomes[-1].verdict not in ("refused",):
            print(seed, outcomes[-1].verdict, "|", outcomes[-1].mutation, "|", outcomes[-1].detail[:200], flush=True)
    report(outcomes)
    sys.exit(any(outcome.verdict == "WRONG" for outcome in outcomes))


def report(outcomes: list[Outcome]) -> None:
    """Print the totals, and by kind of mutation."""
    verdicts = collections.Counter(outcome.verdict for outcome in outcomes)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()))
    cpu, memory = max(outcome.cpu for outcome in outcomes), max(outcome.memory for outcome in outcomes)
    print(f"most CPU {cpu:.1f} s, most memory added {memory / 2**20:.0f} MB")
    kinds = sorted({outcome.mutation.split(", ")[1].split(":")[0] for outcome in outcomes})
    for kind in kinds:
        count = collections.Counter(o.verdict for o in outcomes if f", {kind}:" in o.mutation)
        print(f"  {kind:22}", ", ".join(f"{number} {verdict}" for verdict, number in count.most_common()))


if __name__ == "__main__":
    main()
