"""What people ask one at a time: similar items, search by text, explanations, MLflow's records, the page's lists.

They are computed on a thread of their own, one after another, behind a bounded queue, so that they never hold up the
recommendations of others.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from recsys.errors import InputError

from ..service import Batcher, Served, Service

logger = logging.getLogger(__name__)
MAX_QUEUE = 64
Result = TypeVar("Result")
Lookup = Callable[[Served], Any]


class LookupQueue:
    """Answers with what serves at the moment.

    Args:
        service: Whose bundle answers; how long a request may take.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._batcher = Batcher[Lookup, Any](self._answer, max_batch=1, max_queue=MAX_QUEUE)
        self._warm: Served | None = None
        self.warm()

    async def ask(self, lookup: Callable[[Served], Result]) -> Result:
        """The result of a lookup.

        Raises:
            InputError: Whatever the lookup raises.
            BusyError, LateError: Too many wait, or this one waited too long.
        """
        waiting: Future[Result] = self._batcher.submit(lookup, seconds=self._service.settings.seconds)
        return await asyncio.wrap_future(waiting)

    def warm(self) -> None:
        """Make the tables of what serves now, unless they have been made; nobody waits for them."""
        if self._service.served is not self._warm:
            self._warm = self._service.served
            self._batcher.submit(_warm_up, seconds=3600).add_done_callback(_say_fault)

    def close(self) -> None:
        """Answer what waits, and end the thread."""
        self._batcher.close()

    def _answer(self, lookups: Sequence[Lookup]) -> list[Any]:
        served = self._service.served
        return [lookup(served) for lookup in lookups]


def _warm_up(served: Served) -> None:
    """Ask once for each kind, which makes its tables."""
    item_ids = served.retriever.bundle.encoder.item_ids.head(1)
    served.retriever.similar_items(item_ids, k=1)
    served.retriever.explain(item_ids, item_ids[0])
    with suppress(InputError):  # of a model without text
        served.retriever.search_text([""], k=1)


def _say_fault(done: "Future[Any]") -> None:
    try:
        error = done.exception()
    except CancelledError:
        return
    if error is not None:
        logger.warning("similar items and search are not warm: %s", error)
