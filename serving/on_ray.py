"""Batch scoring on a Ray cluster: partitions as tasks over files. Only ``--engine ray`` imports this module."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from recsys.answers import Mask
from recsys.progress import track
from recsys.ray_cluster import connected, task_map
from recsys.retriever import Retriever, RetrieverSource, same_retriever

from .batch_scoring import RunPartitions, ScoreAll
from .partition import ScoreJob, limited_to, score_partition
from .records import PartRecord


def on_ray(source: RetrieverSource, mask: Mask | None, address: str | None) -> RunPartitions:
    """What scores partitions on a cluster.

    Args:
        source: What the retriever was loaded from; fixed.
        mask: Items that nobody gets.
        address: See ``connected``.
    """

    @contextmanager
    def run(job: ScoreJob, retriever: Retriever) -> Iterator[ScoreAll]:
        def score_all(numbers: Sequence[int]) -> Iterator[PartRecord]:
            score_one = partial(_score_partition, source, mask, job)
            return track(on_cluster(score_one, numbers), "partitions scored", len(numbers))

        with connected(address), task_map(job.folder) as on_cluster:
            yield score_all

    return run


def _score_partition(source: RetrieverSource, mask: Mask | None, job: ScoreJob, number: int) -> PartRecord:
    """Score a partition in a worker, which loads the bundle for the first one."""
    retriever = same_retriever(source, job.state.bundle_id, job.state.metadata)
    return score_partition(limited_to(retriever, job.state.as_of, mask), job, number)
