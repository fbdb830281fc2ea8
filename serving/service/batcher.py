"""One thread that computes, and the bounded queue in front of it.

While a batch is computed, others queue up and become the next one, so batches grow with the load and a request that
finds the thread idle waits for nobody.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

Question = TypeVar("Question")
Result = TypeVar("Result")
SMOOTHING = 0.2  # the weight of the latest batch in the mean time that one takes
SURE = 0.7  # of the time that a request has, how much its wait may take by estimate: near 1, half of them would be late


class BusyError(Exception):
    """The queue is too long, or the service is about to stop. after: seconds until it is worth asking again."""

    after = 1


class LateError(Exception):
    """The deadline passed before the question was reached."""


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Question, Result]):
    question: Question
    deadline: float  # by time.monotonic
    result: "Future[Result] | asyncio.Future[Result]"

    def is_wanted(self) -> bool:
        """Whether somebody still waits for the result."""
        if isinstance(self.result, Future):
            return self.result.set_running_or_notify_cancel()
        return not self.result.done()

    def tell(self, outcome: Result | Exception) -> None:
        """Give the result, in the thread where it is waited for."""
        if isinstance(self.result, asyncio.Future) and self.result.done():  # cancelled
            return
        if isinstance(outcome, Exception):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)


class Batcher(Generic[Question, Result]):
    """Answers questions in batches, on a thread of its own.

    Args:
        answer: Computes the results of a batch, in order; an exception among them goes to that question alone. One
            that it raises goes to everyone in the batch.
        max_batch: The most questions in a batch.
        max_queue: The most questions that wait; further ones are refused.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Sequence[Result | Exception]],
        *,
        max_batch: int = 64,
        max_queue: int = 1024,
    ) -> None:
        self._answer, self._max_batch, self._max_queue = answer, max_batch, max_queue
        self._waiting: deque[_Waiting[Question, Result]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._batch_seconds = 0.0  # what a batch takes, lately
        self._thread = threading.Thread(target=self._run, daemon=True, name="batches")
        self._thread.start()

    def __len__(self) -> int:
        return len(self._waiting)

    def require_room(self, seconds: float) -> None:
        """Raise BusyError unless a question that is useful for so long would be answered in time."""
        if self._closed:
            raise BusyError("the service stops")
        if len(self._waiting) >= self._max_queue:
            raise BusyError("the queue is full")
        if self._waiting and (len(self._waiting) // self._max_batch + 1) * self._batch_seconds > SURE * seconds:
            raise BusyError("the queue is longer than the time that the request has")

    def submit(self, question: Question, *, seconds: float) -> "Future[Result]":
        """Queue a question; cancelling the future takes it out again.

        Args:
            question: What to ask.
            seconds: How long its result is of use. After that the future raises LateError.

        Raises:
            BusyError: The queue is too long, or the batcher was closed.
        """
        future: Future[Result] = Future()
        self._queue(question, seconds, future)
        return future

    def submit_async(self, question: Question, *, seconds: float) -> "asyncio.Future[Result]":
        """``submit`` for the running event loop, which is woken once a batch rather than once a question."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue(question, seconds, future)
        return future

    def close(self) -> None:
        """Answer what is queued, refuse what comes later, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _queue(self, question: Question, seconds: float, result: "Future[Result] | asyncio.Future[Result]") -> None:
        with self._changed:
            self.require_room(seconds)
            self._waiting.append(_Waiting(question, time.monotonic() + seconds, result))
            self._changed.notify()

    def _run(self) -> None:
        while batch := self._next_batch():
            began = time.monotonic()
            alive = [waiting for waiting in batch if waiting.is_wanted()]
            outcomes: list[tuple[_Waiting[Question, Result], Result | Exception]] = [
                (waiting, LateError("the deadline passed while the request was queued"))
                for waiting in alive
                if began > waiting.deadline
            ]
            timely = [waiting for waiting in alive if began <= waiting.deadline]
            if timely:
                outcomes += zip(timely, self._outcomes(timely), strict=True)
                self._batch_seconds += SMOOTHING * (time.monotonic() - began - self._batch_seconds)
            _tell(outcomes)

    def _outcomes(self, batch: Sequence[_Waiting[Question, Result]]) -> Sequence[Result | Exception]:
        try:
            return self._answer([waiting.question for waiting in batch])
        except Exception as error:
            return [error] * len(batch)

    def _next_batch(self) -> list[_Waiting[Question, Result]]:
        """What waits, up to a full batch; waits for the first one. Empty once closed and answered."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]


def _tell(outcomes: Sequence[tuple[_Waiting[Question, Result], Result | Exception]]) -> None:
    """Give all results, those of an event loop in one step of that loop."""
    of_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting[Question, Result], Result | Exception]]] = {}
    for waiting, outcome in outcomes:
        if isinstance(waiting.result, Future):
            waiting.tell(outcome)
        else:
            of_loop.setdefault(waiting.result.get_loop(), []).append((waiting, outcome))
    for loop, of_it in of_loop.items():
        with suppress(RuntimeError):  # the loop was closed, and nobody waits any more
            loop.call_soon_threadsafe(_tell_here, of_it)


def _tell_here(outcomes: Sequence[tuple[_Waiting[Question, Result], Result | Exception]]) -> None:
    for waiting, outcome in outcomes:
        waiting.tell(outcome)
