"""Logging is afterwards as it was before, however many calls are made at once."""

import logging
import threading

from recsys.registry.quiet import LOGGERS, quiet


def state():
    loggers = [logging.getLogger(name) for name in LOGGERS]
    return [(logger.level, [*logger.handlers], logger.propagate) for logger in loggers]


def test_information_is_silenced_and_comes_back():
    with quiet():
        pass
    logging.getLogger("mlflow").setLevel(logging.DEBUG)
    before = state()
    with quiet():
        assert logging.getLogger("mlflow").level == logging.CRITICAL
        logging.getLogger("alembic").addHandler(logging.NullHandler())
        logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)
    assert state() == before
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with quiet():
        assert logging.getLogger("mlflow").level == logging.CRITICAL
    logging.getLogger("mlflow").setLevel(logging.INFO)


def test_calls_that_overlap_restore_what_the_first_found():
    with quiet():
        pass
    before, entered, left = state(), threading.Event(), threading.Event()

    def other():
        with quiet():
            entered.set()
            assert left.wait(10)

    thread = threading.Thread(target=other)
    with quiet():
        thread.start()
        assert entered.wait(10)
    assert logging.getLogger("mlflow").level == logging.CRITICAL
    left.set()
    thread.join()
    assert state() == before
