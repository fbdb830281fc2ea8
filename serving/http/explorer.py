"""What the page at / asks: users, items by title, columns, reasons, the previous version's answer, and the map."""

from pathlib import Path
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query as Parameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from recsys.bundle import Bundle
from recsys.errors import InputError
from recsys.retriever import ItemMap, Query, Retriever

from ..service import Answer, Served, Service
from .schema import Id, Ids, RecommendRequest, Strict

PAGE = Path(__file__).parent / "page"
STATIC = StaticFiles(directory=PAGE)
SECURITY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
}  # fmt: skip
SUGGESTED = 12  # users and items in a list to choose from
HISTORY = 200  # items of a history that are shown, the latest ones
VALUES = 40  # a column with at most so many values is chosen from a list
MAP_POINTS = 5_000


class Reasons(Strict):
    """Which items to explain, and for whom."""

    user_id: Id | None = None
    history: Ids | None = None
    item_ids: Annotated[list[Id], Parameter(max_length=50)]


class Texts(Strict):
    """What to search for."""

    text: str
    k: int = 10


def make_explorer(service: Service) -> APIRouter:
    """The paths of the page, under /page, and the page itself at /."""
    router = APIRouter(include_in_schema=False)

    @router.get("/page/about")
    async def about() -> dict[str, Any]:
        return await run_in_threadpool(_about, service)

    @router.get("/page/users")
    async def users(text: str = "") -> list[Id]:
        return await run_in_threadpool(_users, service.served.retriever, text)

    @router.get("/page/items")
    async def items(text: str = "") -> list[dict[str, Any]]:
        return await run_in_threadpool(_items, service.served.retriever, text)

    @router.get("/page/history")
    async def history(user_id: str) -> list[dict[str, Any]]:
        return await run_in_threadpool(_history, service.served.retriever, user_id)

    @router.post("/page/previous")
    async def previous(body: RecommendRequest) -> dict[str, Any]:
        served = service.follower.previous
        if served is None:
            raise InputError("no version served before this one; promote another first")
        query = Query(**body.model_dump(exclude={"columns"}))
        answers = await run_in_threadpool(served.retriever.answer, [query])
        return _shown(Answer(answers.item_ids[0], answers.scores[0], answers.reasons[0], served))

    @router.post("/page/reasons")
    async def reasons(body: Reasons) -> list[list[dict[str, Any]]]:
        return await run_in_threadpool(_reasons, service.served.retriever, body)

    @router.get("/page/similar")
    async def similar(item_id: str, k: int = 12) -> dict[str, Any]:
        return await run_in_threadpool(_similar, service.served, item_id, k)

    @router.post("/page/search")
    async def search(body: Texts) -> dict[str, Any]:
        return await run_in_threadpool(_search, service.served, body)

    @router.get("/page/map")
    async def item_map() -> dict[str, Any]:
        return await run_in_threadpool(_map, service.served)

    _add_files(router)
    return router


def _add_files(router: APIRouter) -> None:
    """The page and its files. The last path matches any name, so the others must be there before."""

    @router.get("/")
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=SECURITY)

    @router.get("/page/{name}")
    async def asset(name: str) -> FileResponse:
        full, found = STATIC.lookup_path(name)
        if found is None:
            raise InputError(f"no file {name[:40]!r} belongs to the page")
        return FileResponse(full, headers=SECURITY)


def _about(service: Service) -> dict[str, Any]:
    """Who answers, and which controls make sense for this bundle."""
    served, previous = service.served, service.follower.previous
    retriever, bundle = served.retriever, served.retriever.bundle
    known = retriever.known_users
    texts = isinstance(bundle, Bundle) and any(one.kind == "text" for one in bundle.encoder.item_transforms)
    return {
        "source": service.settings.source, "version": served.version, "bundle_id": served.bundle_id,
        "since": served.since, "baseline": retriever.baseline, "items": bundle.encoder.num_items,
        "previous": None if previous is None else previous.version,
        "users": 0 if known is None else len(known.user_ids), "has_text": texts,
        "columns": [_column(bundle.items, name) for name in bundle.items.columns if name != "item_id"],
    }  # fmt: skip


def _column(items: pl.DataFrame, name: str) -> dict[str, Any]:
    """A column, and the values that it is filtered by if they are few."""
    column = items.get_column(name)
    kind, values = "text", []
    if column.dtype.is_numeric():
        kind = "number"
    if isinstance(column.dtype, pl.List):
        kind, column = "list", column.explode(empty_as_null=True)
    if kind != "number" and column.dtype == pl.String:
        distinct = column.drop_nulls().unique()
        values = distinct.sort().to_list() if len(distinct) <= VALUES else []
    return {"name": name, "kind": kind, "values": values}


def _users(retriever: Retriever, text: str) -> list[Id]:
    """Known users whose id holds the text; some of them without a text."""
    known = retriever.known_users
    if known is None:
        return []
    ids = known.user_ids
    if not text:
        return ids.gather_every(max(1, len(ids) // SUGGESTED)).head(SUGGESTED).to_list()
    return ids.filter(ids.cast(pl.String).str.contains(text, literal=True)).head(SUGGESTED).to_list()


def _items(retriever: Retriever, text: str) -> list[dict[str, Any]]:
    """Items whose title, or id, holds the text, without regard to case."""
    ids = retriever.bundle.encoder.item_ids
    titles = retriever.titles_of(ids)
    shown = titles.fill_null(ids.cast(pl.String)).str.to_lowercase()
    has_text = shown.str.contains(text.lower(), literal=True) | (ids.cast(pl.String) == text)
    return _titled(retriever, ids.filter(has_text).head(SUGGESTED))


def _history(retriever: Retriever, user_id: str) -> list[dict[str, Any]]:
    """What a user did last, the latest first."""
    known = retriever.known_users
    if known is None:
        return []
    user = pl.Series([user_id]).cast(known.user_ids.dtype, strict=False)
    latest = known.take(known.rows(user)).values[::-1]
    return _titled(retriever, retriever.bundle.encoder.ids(latest[latest > 0][:HISTORY].copy()))


def _reasons(retriever: Retriever, body: Reasons) -> list[list[dict[str, Any]]]:
    """For each item, the items of the history that add most to its score."""
    reasons = []
    for item_id in body.item_ids:
        why = retriever.explain(body.history, item_id, user_id=body.user_id).contributions.head(2)
        why = why.filter(pl.col("contribution") > 0)
        titled = _titled(retriever, why.get_column("item_id"))
        reasons.append([
            item | {"contribution": added} for item, added in zip(titled, why.get_column("contribution"), strict=True)
        ])  # fmt: skip
    return reasons


def _similar(served: Served, item_id: str, k: int) -> dict[str, Any]:
    dtype = served.retriever.bundle.encoder.item_ids.dtype
    answers = served.retriever.similar_items(pl.Series([item_id]).cast(dtype, strict=False), k=k)
    return _shown(Answer(answers.item_ids[0], answers.scores[0], answers.reasons[0], served))


def _search(served: Served, body: Texts) -> dict[str, Any]:
    answers = served.retriever.search_text([body.text], k=body.k)
    return _shown(Answer(answers.item_ids[0], answers.scores[0], answers.reasons[0], served))


def _map(served: Served) -> dict[str, Any]:
    """Ids, titles and points of the items, evenly thinned."""
    if served.records is None or not (served.records / ItemMap.FILE).is_file():
        raise InputError("no map of the items was recorded with this version; a run of `recsys publish` writes one")
    drawn, encoder = ItemMap.read(served.records), served.retriever.bundle.encoder
    every = max(1, len(drawn.positions) // MAP_POINTS)
    ids = encoder.ids(pl.Series(drawn.positions[::every], dtype=pl.Int32).to_numpy())
    return {"items": _titled(served.retriever, ids), "xy": drawn.xy[::every]}


def _shown(answer: Answer) -> dict[str, Any]:
    items = _titled(answer.served.retriever, answer.item_ids)
    scored = [item | {"score": score} for item, score in zip(items, answer.scores, strict=True)]
    return {"items": scored, "reason": answer.reason, "version": answer.served.version}


def _titled(retriever: Retriever, item_ids: pl.Series) -> list[dict[str, Any]]:
    titles = retriever.titles_of(item_ids)
    return [{"item_id": item_id, "title": title} for item_id, title in zip(item_ids, titles, strict=True)]
