"""Batches grow while one is computed; the queue is bounded, and nobody is computed for in vain."""

import asyncio
import threading
import time
from concurrent.futures import wait

import pytest

from serving.service.batcher import Batcher, BusyError, LateError


class Slow:
    """Doubles numbers; the first batch waits until it is released."""

    def __init__(self):
        self.batches, self.started, self.released = [], threading.Event(), threading.Event()

    def __call__(self, numbers):
        self.batches.append(list(numbers))
        self.started.set()
        assert self.released.wait(20)
        return [2 * number for number in numbers]


@pytest.fixture
def slow():
    return Slow()


def make(slow, **limits):
    batcher = Batcher(slow, **limits)
    first = batcher.submit(0, seconds=20)
    assert slow.started.wait(20)
    return batcher, first


def test_what_waits_becomes_one_batch_of_bounded_size(slow):
    batcher, first = make(slow, max_batch=4)
    results = [batcher.submit(number, seconds=20) for number in range(1, 7)]
    assert len(batcher) == 6
    slow.released.set()
    assert [result.result(20) for result in (first, *results)] == [0, 2, 4, 6, 8, 10, 12]
    assert slow.batches == [[0], [1, 2, 3, 4], [5, 6]]
    batcher.close()


def test_a_full_queue_refuses_and_a_closed_batcher_answers_what_waits(slow):
    batcher, first = make(slow, max_queue=2)
    results = [batcher.submit(number, seconds=20) for number in (1, 2)]
    with pytest.raises(BusyError, match="full"):
        batcher.submit(3, seconds=20)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    slow.released.set()
    closing.join(20)
    assert [result.result(0) for result in (first, *results)] == [0, 2, 4]
    with pytest.raises(BusyError, match="stops"):
        batcher.submit(4, seconds=20)


def test_nothing_is_computed_for_who_has_gone_or_whose_deadline_has_passed(slow):
    batcher, first = make(slow)
    gone, late, alive = batcher.submit(1, seconds=20), batcher.submit(2, seconds=0.01), batcher.submit(3, seconds=20)
    gone.cancel()
    time.sleep(0.02)
    slow.released.set()
    wait([first, late, alive], 20)
    with pytest.raises(LateError):
        late.result(0)
    assert alive.result(0) == 6
    assert slow.batches == [[0], [3]]
    batcher.close()


def test_an_error_goes_to_all_of_its_batch_and_to_nobody_else():
    def answer(numbers):
        if 13 in numbers:
            raise ValueError("unlucky")
        return numbers

    batcher = Batcher(answer, max_batch=1)
    unlucky, lucky = batcher.submit(13, seconds=20), batcher.submit(7, seconds=20)
    with pytest.raises(ValueError, match="unlucky"):
        unlucky.result(20)
    assert lucky.result(20) == 7
    batcher.close()


def test_an_exception_among_the_results_goes_to_one_question_alone():
    batcher = Batcher(lambda numbers: [ValueError("unlucky") if number == 13 else number for number in numbers])

    async def ask():
        asked = [batcher.submit_async(number, seconds=20) for number in (12, 13, 14)]
        return await asyncio.gather(*asked, return_exceptions=True)

    twelve, unlucky, fourteen = asyncio.run(ask())
    assert (twelve, fourteen) == (12, 14)
    assert isinstance(unlucky, ValueError)
    batcher.close()


def test_nothing_is_computed_for_a_task_that_was_cancelled(slow):
    batcher, _ = make(slow)

    async def ask():
        gone, alive = (batcher.submit_async(number, seconds=20) for number in (1, 2))
        gone.cancel()
        slow.released.set()
        return await alive

    assert asyncio.run(ask()) == 4
    assert slow.batches == [[0], [2]]
    batcher.close()


def test_what_cannot_be_answered_in_time_is_refused_at_once(slow):
    def answer(numbers):
        time.sleep(0.05 * len(numbers))
        return slow(numbers)

    slow.released.set()
    batcher = Batcher(answer, max_batch=2)
    batcher.submit(0, seconds=20).result(20)
    waiting = [batcher.submit(number, seconds=20) for number in range(1, 8)]
    with pytest.raises(BusyError, match="time that the request has"):
        batcher.submit(8, seconds=0.01)
    assert [one.result(20) for one in waiting] == [2, 4, 6, 8, 10, 12, 14]
    batcher.close()


def test_one_slow_question_does_not_refuse_those_that_would_share_a_batch(slow):
    def answer(numbers):
        time.sleep(0.3)
        return slow(numbers)

    slow.released.set()
    batcher = Batcher(answer)
    batcher.submit(0, seconds=20).result(20)
    waiting = [batcher.submit(number, seconds=2) for number in range(1, 5)]
    assert [one.result(20) for one in waiting] == [2, 4, 6, 8]
    batcher.close()
