"""GET and PUT /v1/mask: the items that nobody gets for now."""

from functools import partial

from ..service import Served, Service
from .endpoint import Endpoint
from .lookup_queue import LookupQueue
from .schema import Masked, MaskInForce


def mask_endpoints(service: Service, lookups: LookupQueue) -> list[Endpoint]:
    """The paths that show and replace the mask."""

    async def show_mask(_: None, request_id: str) -> MaskInForce:
        """The items that nobody gets for now."""
        return MaskInForce(version=service.mask.version, item_ids=list(service.mask.item_ids))

    async def put_mask(body: Masked, request_id: str) -> MaskInForce:
        """Replace the items that nobody gets, in all workers within a second; the service keeps them when it ends."""
        return await lookups.ask(partial(_put, service, body))

    return [
        Endpoint("GET", "/v1/mask", MaskInForce, show_mask),
        Endpoint("PUT", "/v1/mask", MaskInForce, put_mask, Masked, {"item_ids": ["i00007"]}),
    ]


def _put(service: Service, body: Masked, _: Served) -> MaskInForce:
    mask = service.put_mask(body.item_ids)
    return MaskInForce(version=mask.version, item_ids=body.item_ids)
