"""What is counted, for Prometheus; the sum over all workers where there are several.

Workers share a folder, named by ``PROMETHEUS_MULTIPROC_DIR``, which the Prometheus client reads when it is imported.
"""

import os
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from ..service import Answer, RequestLog, Service
from .workers import FOLDER_VARIABLE

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
BUG = 500


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._seconds = Histogram(
            "recsys_request_seconds", "From a request's first byte to its answer's last", ["path"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._responses = Counter(
            "recsys_responses", "Answers by path and status", ["path", "status"], registry=registry
        )
        self._fallbacks = Counter(
            "recsys_fallbacks", "Recommendations that are short or not the model's", ["reason"], registry=registry
        )
        self._bugs = Counter("recsys_bugs", "Requests that failed by a fault of the service", registry=registry)
        self._batch_size = Histogram("recsys_batch_size", "Queries computed together", buckets=SIZES, registry=registry)
        self._queue = Gauge("recsys_queue_length", "Queries that wait", registry=registry, multiprocess_mode="livesum")
        self._version = Gauge(
            "recsys_version", "The version that answers; 0 for a folder", registry=registry, multiprocess_mode="livemin"
        )
        self._age = Gauge(
            "recsys_version_age_seconds", "How long it has answered", registry=registry, multiprocess_mode="livemax"
        )
        self._refused = Gauge(
            "recsys_version_refused", "The version that was offered and not taken; 0 for none", registry=registry,
            multiprocess_mode="livemax",
        )  # fmt: skip
        self._registry_down = Gauge(
            "recsys_registry_down", "Whether the registry could not be asked", registry=registry,
            multiprocess_mode="livemax",
        )  # fmt: skip
        self._unlogged = Gauge(
            "recsys_requests_not_logged", "Requests that the log dropped", registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self._swaps = Counter("recsys_swaps", "Versions and logs that took over", registry=registry)
        self._num_swaps = 0
        self._kept: dict[tuple[str, int], tuple[Histogram, Counter]] = {}

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer. A status of 0 is a client that has gone, or an answer that broke off."""
        time_of_path, count = self._of(path, status)
        time_of_path.observe(seconds)
        count.inc()
        if status == BUG:
            self._bugs.inc()

    def recommended(self, answer: Answer) -> None:
        """Count what an answer lacks."""
        if answer.reason is not None:
            for part in answer.reason.split("; "):
                self._fallbacks.labels(part.partition(":")[0]).inc()

    def _of(self, path: str, status: int) -> tuple[Histogram, Counter]:
        """The figures of a path and a status, which Prometheus takes long to look up."""
        if (path, status) not in self._kept:
            self._kept[path, status] = self._seconds.labels(path), self._responses.labels(path, str(status))
        return self._kept[path, status]

    def computed(self, num_queries: int) -> None:
        """Count a batch."""
        self._batch_size.observe(num_queries)

    def look_at(self, service: Service, log: RequestLog | None = None) -> None:
        """Take over the figures of the moment."""
        served, refused = service.served, service.refused
        self._queue.set(len(service.batcher))
        self._version.set(served.version or 0)
        self._age.set(time.time() - served.since)
        self._refused.set(0 if refused is None else refused.version)
        self._registry_down.set(service.follower.registry_fault is not None)
        self._swaps.inc(service.swaps - self._num_swaps)
        self._num_swaps = service.swaps
        self._unlogged.set(0 if log is None else log.dropped)

    def page(self) -> bytes:
        """All figures in Prometheus' text format."""
        if FOLDER_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        of_all_workers = CollectorRegistry()
        MultiProcessCollector(of_all_workers)  # type: ignore[no-untyped-call]
        return generate_latest(of_all_workers)
