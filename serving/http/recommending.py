"""POST /v1/recommend."""

from pydantic import BaseModel, JsonValue

from recsys.answers import FALLBACK
from recsys.retriever import Query

from ..service import Answer, RequestLog, Served, Service
from .endpoint import Endpoint
from .metrics import Metrics
from .rows import item_rows
from .schema import RecommendBody, Recommended, RecommendedList, RecommendRequest

EXAMPLE: JsonValue = {"history": ["i00007", "i00012"], "k": 3, "columns": ["title"]}


def recommend_endpoint(service: Service, metrics: Metrics, log: RequestLog | None = None) -> Endpoint:
    """The path that recommends."""

    async def recommend(body: RecommendBody, request_id: str) -> BaseModel:
        """The best items for a user or a history, or for several of them."""
        if isinstance(body, RecommendRequest):
            query = query_of(body)
            answer = await service.recommend_async(query)
            if log is not None:
                log.add(query, answer, request_id)
            return answered(answer, body, request_id, metrics)
        queries = [query_of(request) for request in body.requests]
        answers = await service.recommend_all_async(queries)
        if log is not None:
            for query, answer in zip(queries, answers, strict=True):
                log.add(query, answer, request_id)
        return RecommendedList(answers=[
            answered(answer, request, request_id, metrics)
            for answer, request in zip(answers, body.requests, strict=True)
        ])  # fmt: skip

    return Endpoint("POST", "/v1/recommend", Recommended | RecommendedList, recommend, RecommendBody, EXAMPLE)


def answered(answer: Answer, request: RecommendRequest, request_id: str, metrics: Metrics) -> Recommended:
    """An answer as JSON has it."""
    metrics.recommended(answer)
    served: Served = answer.served
    return Recommended.model_construct(
        items=item_rows(served, answer.item_ids, {"score": answer.scores}, request.columns), reason=answer.reason,
        degraded=FALLBACK in (answer.reason or ""), bundle_id=served.bundle_id, version=served.version,
        request_id=request_id, mask_version=answer.mask_version,
    )  # fmt: skip


def query_of(request: RecommendRequest) -> Query:
    """What the retriever is asked."""
    return Query(**{name: getattr(request, name) for name in _MEMBERS})


_MEMBERS = [name for name in RecommendRequest.model_fields if name != "columns"]
