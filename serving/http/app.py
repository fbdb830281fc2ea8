"""The application: which path answers what."""

import uuid
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import polars as pl
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from recsys.answers import FALLBACK
from recsys.errors import InputError
from recsys.retriever import Query

from ..service import Answer, BusyError, LateError, Service
from .explorer import make_explorer
from .schema import RecommendBody, Recommended, RecommendedList, RecommendRequest

REQUEST_ID = "X-Request-ID"


def make_app(service: Service) -> FastAPI:
    """The HTTP application around a service, which it closes when it ends."""

    @asynccontextmanager
    async def life(_: FastAPI) -> Any:
        yield
        service.close()

    app = FastAPI(title="recsys", lifespan=life)
    app.middleware("http")(with_request_id)
    for error, status in ((InputError, 400), (BusyError, 503), (LateError, 503)):
        app.add_exception_handler(error, _failure(status))
    app.add_exception_handler(RequestValidationError, _invalid)

    @app.post("/v1/recommend")
    async def recommend(body: RecommendBody, request: Request) -> RecommendedList | Recommended:
        """The best items for a user or a history, or for several."""
        request_id = request.state.request_id
        if isinstance(body, RecommendRequest):
            return answered(await service.recommend_async(_query(body)), body, request_id)
        answers = await service.recommend_all_async([_query(each) for each in body.requests])
        return RecommendedList(answers=[
            answered(answer, each, request_id) for answer, each in zip(answers, body.requests, strict=True)
        ])  # fmt: skip

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @app.get("/health/ready")
    async def ready() -> dict[str, Any]:
        """Which version answers, and what keeps a newer one from it."""
        follower, served = service.follower, service.served
        return {
            "status": "ready", "version": served.version, "bundle_id": served.bundle_id,
            "refused": follower.refused.reason if follower.refused is not None else None,
            "registry": follower.registry_fault,
        }  # fmt: skip

    app.include_router(make_explorer(service))
    return app


async def with_request_id(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Give a request the id that its caller sent, or a new one, and return it with the answer."""
    request.state.request_id = request.headers.get(REQUEST_ID) or uuid.uuid4().hex
    response = await answer(request)
    response.headers[REQUEST_ID] = request.state.request_id
    return response


def answered(answer: Answer, request: RecommendRequest, request_id: str) -> Recommended:
    """An answer as JSON has it."""
    scored = pl.DataFrame([answer.item_ids.alias("item_id"), answer.scores.alias("score")])
    columns = answer.served.item_columns(answer.item_ids, request.columns).drop(scored.columns, strict=False)
    items = pl.concat([scored, columns], how="horizontal").to_dicts() if columns.width else scored.to_dicts()
    return Recommended(
        items=items, reason=answer.reason, degraded=FALLBACK in (answer.reason or ""),
        bundle_id=answer.served.bundle_id, version=answer.served.version, request_id=request_id,
    )  # fmt: skip


def _query(request: RecommendRequest) -> Query:
    return Query(**request.model_dump(exclude={"columns"}))


def _failure(status: int) -> Callable[[Request, Exception], JSONResponse]:
    def answer(request: Request, error: Exception) -> JSONResponse:
        headers = {"Retry-After": "1"} if status == 503 else {}
        content = {"error": " ".join(str(error).split()), "request_id": request.state.request_id}
        return JSONResponse(content, status, headers)

    return answer


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """A body of the wrong form: where it is wrong, without what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "one", "several")) or "body"
    return JSONResponse({"error": f"{where}: {first['msg']}", "request_id": request.state.request_id}, 422)
