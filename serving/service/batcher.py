"""One thread that computes, and the bounded queue in front of it.

While a batch is computed, others queue up and become the next one, so batches grow with the load and a request that
finds the thread idle waits for nobody.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Question = TypeVar("Question")
Result = TypeVar("Result")


class BusyError(Exception):
    """The queue is full, or the service is about to stop. after: seconds until it is worth asking again."""

    after = 1


class LateError(Exception):
    """The deadline passed before the question was reached."""


@dataclass(frozen=True)
class _Waiting(Generic[Question, Result]):
    question: Question
    deadline: float  # by time.monotonic
    result: "Future[Result]" = field(default_factory=Future)


class Batcher(Generic[Question, Result]):
    """Answers questions in batches, on a thread of its own.

    Args:
        answer: Computes the results of a batch, in order. An exception goes to everyone in the batch.
        max_batch: The most questions in a batch.
        max_queue: The most questions that wait; further ones are refused.
    """

    def __init__(
        self, answer: Callable[[Sequence[Question]], Sequence[Result]], *, max_batch: int = 64, max_queue: int = 1024
    ) -> None:
        self._answer, self._max_batch, self._max_queue = answer, max_batch, max_queue
        self._waiting: deque[_Waiting[Question, Result]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="batches")
        self._thread.start()

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, question: Question, *, seconds: float) -> "Future[Result]":
        """Queue a question; cancelling the future takes it out again.

        Args:
            question: What to ask.
            seconds: How long its result is of use. After that the future raises LateError.

        Raises:
            BusyError: The queue is full, or the batcher was closed.
        """
        waiting = _Waiting[Question, Result](question, time.monotonic() + seconds)
        with self._changed:
            if self._closed or len(self._waiting) >= self._max_queue:
                raise BusyError("the queue is full" if not self._closed else "the service stops")
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.result

    def close(self) -> None:
        """Answer what is queued, refuse what comes later, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            alive = [waiting for waiting in batch if self._is_wanted(waiting)]
            if not alive:
                continue
            try:
                results = self._answer([waiting.question for waiting in alive])
            except Exception as error:
                for waiting in alive:
                    waiting.result.set_exception(error)
                continue
            for waiting, result in zip(alive, results, strict=True):
                waiting.result.set_result(result)

    def _next_batch(self) -> list[_Waiting[Question, Result]]:
        """What waits, up to a full batch; waits for the first one. Empty once closed and answered."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]

    @staticmethod
    def _is_wanted(waiting: _Waiting[Question, Result]) -> bool:
        """Whether somebody still waits for the result; tells those whose deadline has passed."""
        if not waiting.result.set_running_or_notify_cancel():
            return False
        if time.monotonic() > waiting.deadline:
            waiting.result.set_exception(LateError("the deadline passed while the request was queued"))
            return False
        return True
