"""Growth: ours alone, each stage at four sizes, a factor of four apart or, for catalogues, of ten.

The table shows the slope of log seconds over log size; 1 is linear. Peak memory holds the libraries, too.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import features, scoring, training
from benchmarks.speed.race import Answer, Contestant, enter

FACTOR, SIZES = 4, 4
STEPS, DIM, ANSWERS = 4, 64, 1_000
CATALOGUE_STEPS, CATALOGUE_BATCHES, CATALOGUE_TOKENS = 20, 200, 2_048


def sizes(smallest: int, factor: int = FACTOR) -> list[int]:
    return [smallest * factor**power for power in range(SIZES)]


def contestants(function: str, smallest: int, unit: str, factor: int = FACTOR) -> tuple[Contestant, ...]:
    """One for each size, which is its setting ``size``."""
    return tuple(
        Contestant(f"{size:,} {unit}", function, peer=False, settings={"size": size})
        for size in sizes(smallest, factor)
    )


def feature_job(size: int, logs: dict[str, str], out: str) -> Iterator[Answer | None]:
    yield from of_size(size, features.ours(logs[str(size)], out))


def training_step(size: int, events: str, out: str) -> Iterator[Answer | None]:
    """As many steps whatever the tokens in a batch; the size is the tokens that there were."""
    state, objective, loader, device = training.started(events, out, num_members=1, batch_tokens=size)
    steps = training.endless_steps(loader, device)
    state.step(objective(state.model, next(steps)))
    done = 0
    yield None
    for step in itertools.islice(steps, STEPS):
        state.step(objective(state.model, step))
        done += len(step.labels)
    yield None
    yield {"figures": {"size": done}}


def catalogue_step(size: int, logs: dict[str, str], out: str) -> Iterator[Answer | None]:
    """Steps of as many tokens, whatever the items in the catalogue; the loader's work is not among them."""
    state, objective, loader, device = of_catalogue(logs[str(size)], out)
    steps = list(itertools.islice(training.endless_steps(loader, device), 1 + CATALOGUE_STEPS))
    state.step(objective(state.model, steps[0]))
    yield None
    for step in steps[1:]:
        state.step(objective(state.model, step))
    yield None
    yield {"figures": {"size": size}}


def catalogue_batches(size: int, logs: dict[str, str], out: str) -> Iterator[Answer | None]:
    """Batches alone."""
    loader = of_catalogue(logs[str(size)], out)[2]
    batches = itertools.chain.from_iterable(loader.epoch(epoch) for epoch in itertools.count(1))
    next(batches)
    yield None
    for _ in itertools.islice(batches, CATALOGUE_BATCHES):
        pass
    yield None
    yield {"figures": {"size": size}}


def catalogue_validation(size: int, logs: dict[str, str], out: str) -> Iterator[Answer | None]:
    """Validation as after an epoch: every vector is encoded, and compared with as many queries as are affordable."""
    from recsys.data import Dataset
    from training import validation

    state, _, loader, device = of_catalogue(logs[str(size)], out)
    queries = validation.validation_set(Dataset.open(Path(out) / "dataset"), seed=0)
    yield None
    with state.averaged_model() as model:
        validation.score(model, queries, loader, size, device)
    yield None
    yield {"figures": {"size": size, "queries": len(queries.history)}}


def catalogue_checkpoint(size: int, logs: dict[str, str], out: str) -> Iterator[Answer | None]:
    """A checkpoint within an epoch."""
    from training.checkpoints import Identity, checkpoint

    state, objective, loader, device = of_catalogue(logs[str(size)], out)
    state.step(objective(state.model, next(training.endless_steps(loader, device))))
    yield None
    checkpoint.save(Path(out) / checkpoint.CHECKPOINT, checkpoint.snapshot(state, Identity("", "", "adamw")))
    yield None
    yield {"figures": {"size": size, "gib": (Path(out) / checkpoint.CHECKPOINT).stat().st_size / 2**30}}


def of_catalogue(events: str, out: str) -> tuple[Any, ...]:
    return training.started(events, out, num_members=1, batch_tokens=CATALOGUE_TOKENS)


def index_build(size: int, kind: str) -> Iterator[Answer | None]:
    """Of vectors in clusters, as learned ones are; an approximate index is also tuned for its recall."""
    from recsys.search import ItemIndex

    vectors = in_clusters(size + 1)
    vectors[0] = 0.0
    yield None
    index = ItemIndex.build(vectors, kind=kind)  # type: ignore[arg-type]
    yield None
    yield {"figures": {"size": size, "recall": index.spec.recall}}


def answers(size: int, kind: str) -> Iterator[Answer | None]:
    """The top 100 of as many users, whatever the items in the catalogue."""
    from recsys.search import ItemIndex

    vectors = in_clusters(size + 1 + ANSWERS)
    users, vectors = vectors[:ANSWERS], vectors[ANSWERS:]
    vectors[0] = 0.0
    index = ItemIndex.build(vectors, kind=kind, query_vectors_BD=in_clusters(ANSWERS, seed=1))  # type: ignore[arg-type]
    index.search(users, 100)
    yield None
    index.search(users, 100)
    yield None
    yield {"figures": {"size": size, "recall": index.spec.recall}}


def in_clusters(count: int, seed: int = 0) -> Any:
    """[count, DIM] float32."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((256, DIM), np.float32)
    rng = rng if seed == 0 else np.random.default_rng(seed)
    vectors = centres[rng.integers(len(centres), size=count)]
    vectors += 0.5 * rng.standard_normal(vectors.shape, np.float32)
    return vectors


def batch_scoring(size: int, num_items: int) -> Iterator[Answer | None]:
    yield from of_size(size, scoring.ours(num_users=size, num_items=num_items, dim=DIM))


def of_size(size: int, steps: Iterator[Answer | None]) -> Iterator[Answer | None]:
    """A contestant of another row, whose answer is beside the point here."""
    yield next(steps)
    yield next(steps)
    yield {"figures": {"size": size}}


if __name__ == "__main__":
    enter({
        "feature_job": feature_job, "training_step": training_step, "index_build": index_build, "answers": answers,
        "batch_scoring": batch_scoring, "catalogue_step": catalogue_step, "catalogue_batches": catalogue_batches,
        "catalogue_validation": catalogue_validation, "catalogue_checkpoint": catalogue_checkpoint,
    })  # fmt: skip
