"""MLflow's log messages stay off the screen, and logging is afterwards as it was.

MLflow logs what nobody asked about, and for what fails a traceback beside the error, which is enough. Its migrations
configure loggers for the whole process.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LOGGERS = (None, "mlflow", "alembic", "sqlalchemy", "sqlalchemy.engine", "urllib3.connectionpool")  # None: the root


@dataclass
class _State:
    """How many calls are in progress, and how the loggers were before the first of them."""

    depth: int
    before: list[tuple[logging.Logger, int, list[logging.Handler], bool]]


_state, _guard = _State(0, []), threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence MLflow and its migrations; the last of several calls at once restores what the first one found."""
    import mlflow  # noqa: F401 - the import configures the loggers, for good

    with _guard:
        if not _state.depth:
            loggers = [logging.getLogger(name) for name in LOGGERS]
            _state.before = [(logger, logger.level, [*logger.handlers], logger.propagate) for logger in loggers]
            for logger in loggers[1:]:
                logger.setLevel(max(logger.level, logging.CRITICAL))
        _state.depth += 1
    try:
        yield
    finally:
        with _guard:
            _state.depth -= 1
            if not _state.depth:
                for logger, level, handlers, propagate in _state.before:
                    logger.setLevel(level)
                    logger.handlers[:] = handlers
                    logger.propagate = propagate
