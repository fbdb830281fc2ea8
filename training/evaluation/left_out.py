"""A publication goes on without what cannot be made: a diagnostic must never cost a finished training."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from recsys.errors import InputError

Made = TypeVar("Made")
logger = logging.getLogger(__name__)


@dataclass
class LeftOut:
    """What was left out, and why. reasons: by the name of the part. strict: whether nothing may be left out."""

    reasons: dict[str, str] = field(default_factory=dict)
    strict: bool = False

    def attempt(self, part: str, make: Callable[[], Made]) -> Made | None:
        """Return what ``make`` returns; None if it raises, and then the reason is noted.

        An InputError gives its own reason. Anything else is a bug: it is logged with its traceback.
        """
        if self.strict:
            return make()
        try:
            return make()
        except InputError as error:
            reason = str(error)
            logger.info("%s left out: %s", part, reason)
        except (Exception, pl.exceptions.PanicException) as error:
            logger.warning("%s left out, because of a bug", part, exc_info=True)
            reason = f"a bug ({type(error).__name__}: {error}); the log has the traceback"
        self.reasons[part] = reason
        return None


NOTHING = LeftOut(strict=True)
