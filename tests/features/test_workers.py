import operator
import os

from features.workers import process_map

HERE = f"__import__('os').getpid() == {os.getpid()}"  # an expression, since workers can import no test module


def test_one_worker_is_this_process() -> None:
    with process_map(1) as map_over:
        assert list(map_over(eval, [HERE, HERE])) == [True, True]


def test_several_workers_are_other_processes_and_keep_the_order() -> None:
    with process_map(2) as map_over:
        assert list(map_over(operator.neg, range(5))) == [0, -1, -2, -3, -4]
        assert list(map_over(eval, [HERE, HERE])) == [False, False]
