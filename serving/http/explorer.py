"""What the page at / asks: users, items by title, columns, reasons, the previous version's answer, and the map."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from fastapi import APIRouter, Query as Parameter
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, JsonValue

from recsys.answers import Recommendations
from recsys.bundle import Bundle
from recsys.errors import InputError
from recsys.retriever import ItemMap, Retriever

from ..service import Served, Service
from .lookup_queue import LookupQueue
from .recommending import query_of
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


class Item(BaseModel):
    """An item and its title, null where it has none."""

    item_id: Id
    title: str | None


class Scored(Item):
    """An item of an answer."""

    score: float


class Reason(Item):
    """An item of the history, and what it adds to a score."""

    contribution: float


class Shown(BaseModel):
    """An answer, and the version that gave it."""

    items: list[Scored]
    reason: str | None
    version: int | None


class Column(BaseModel):
    """An item column. values: those that it is filtered by, where they are few."""

    name: str
    kind: Literal["text", "number", "list"]
    values: list[JsonValue]


class About(BaseModel):
    """Who answers, and which controls make sense. title: the column of titles; null without one."""

    source: str
    version: int | None
    bundle_id: str
    since: float
    baseline: str | None
    items: int
    previous: int | None
    users: int
    has_text: bool
    title: str | None
    columns: list[Column]


class Drawn(BaseModel):
    """Items on a plane."""

    items: list[Item]
    xy: list[tuple[float, float]]


def make_explorer(service: Service, lookups: LookupQueue) -> APIRouter:
    """The paths of the page, under /page, and the page itself at /.

    What they look up waits in the queue of all lookups, so that a page can never hold up recommendations.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/page/about")
    async def about() -> About:
        return await lookups.ask(partial(_about, service))

    @router.get("/page/users")
    async def users(text: str = "") -> list[Id]:
        return await lookups.ask(partial(_users, text))

    @router.get("/page/items")
    async def items(text: str = "") -> list[Item]:
        return await lookups.ask(partial(_items, text))

    @router.get("/page/history")
    async def history(user_id: str) -> list[Item]:
        return await lookups.ask(partial(_history, user_id))

    @router.post("/page/previous")
    async def previous(body: RecommendRequest) -> Shown:
        return await lookups.ask(lambda _: _previous(service, body))

    @router.post("/page/reasons")
    async def reasons(body: Reasons) -> list[list[Reason]]:
        return await lookups.ask(partial(_reasons, body))

    @router.get("/page/similar")
    async def similar(item_id: str, k: int = 12) -> Shown:
        return await lookups.ask(partial(_similar, item_id, k))

    @router.post("/page/search")
    async def search(body: Texts) -> Shown:
        return await lookups.ask(partial(_search, body))

    @router.get("/page/map")
    async def item_map() -> Drawn:
        return await lookups.ask(_map)

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


def _about(service: Service, served: Served) -> About:
    """Who answers, and which controls make sense for this bundle."""
    previous = service.follower.previous
    retriever, bundle = served.retriever, served.retriever.bundle
    known, title = retriever.known_users, bundle.provenance.title or "title"
    texts = isinstance(bundle, Bundle) and any(one.kind == "text" for one in bundle.encoder.item_transforms)
    return About(
        source=service.settings.source, version=served.version, bundle_id=served.bundle_id, since=served.since,
        baseline=retriever.baseline, items=bundle.encoder.num_items,
        previous=None if previous is None else previous.version, users=0 if known is None else len(known.user_ids),
        has_text=texts, title=title if title in bundle.items.columns else None,
        columns=[_column(bundle.items, name) for name in bundle.items.columns if name != "item_id"],
    )  # fmt: skip


def _column(items: pl.DataFrame, name: str) -> Column:
    """A column, and the values that it is filtered by if they are few."""
    column = items.get_column(name)
    kind: Literal["text", "number", "list"] = "number" if column.dtype.is_numeric() else "text"
    if isinstance(column.dtype, pl.List):
        kind, column = "list", column.explode(empty_as_null=True)
    values = []
    if kind != "number" and column.dtype == pl.String:
        distinct = column.drop_nulls().unique()
        values = distinct.sort().to_list() if len(distinct) <= VALUES else []
    return Column(name=name, kind=kind, values=values)


def _users(text: str, served: Served) -> list[Id]:
    """Known users whose id holds the text; some of them without a text."""
    known = served.retriever.known_users
    if known is None:
        return []
    ids = known.user_ids
    if not text:
        return ids.gather_every(max(1, len(ids) // SUGGESTED)).head(SUGGESTED).to_list()
    return ids.filter(ids.cast(pl.String).str.contains(text, literal=True)).head(SUGGESTED).to_list()


def _items(text: str, served: Served) -> list[Item]:
    """Items whose title, or id, holds the text, without regard to case."""
    ids = served.retriever.bundle.encoder.item_ids
    titles = served.retriever.titles_of(ids)
    shown = titles.fill_null(ids.cast(pl.String)).str.to_lowercase()
    has_text = shown.str.contains(text.lower(), literal=True) | (ids.cast(pl.String) == text)
    return _titled(served.retriever, ids.filter(has_text).head(SUGGESTED))


def _history(user_id: str, served: Served) -> list[Item]:
    """What a user did last, the latest first."""
    known = served.retriever.known_users
    if known is None:
        return []
    user = pl.Series([user_id]).cast(known.user_ids.dtype, strict=False)
    latest = known.take(known.rows(user)).values[::-1]
    return _titled(served.retriever, served.retriever.bundle.encoder.ids(latest[latest > 0][:HISTORY].copy()))


def _previous(service: Service, body: RecommendRequest) -> Shown:
    served = service.follower.previous
    if served is None:
        raise InputError("no version served before this one; promote another first")
    return _shown(served.retriever.answer([query_of(body)]), served)


def _reasons(body: Reasons, served: Served) -> list[list[Reason]]:
    """For each item, the items of the history that add most to its score."""
    reasons = []
    for item_id in body.item_ids:
        why = served.retriever.explain(body.history, item_id, user_id=body.user_id).contributions.head(2)
        why = why.filter(pl.col("contribution") > 0)
        items = _titled(served.retriever, why.get_column("item_id"))
        reasons.append([
            Reason(item_id=item.item_id, title=item.title, contribution=added)
            for item, added in zip(items, why.get_column("contribution"), strict=True)
        ])  # fmt: skip
    return reasons


def _similar(item_id: str, k: int, served: Served) -> Shown:
    dtype = served.retriever.bundle.encoder.item_ids.dtype
    return _shown(served.retriever.similar_items(pl.Series([item_id]).cast(dtype, strict=False), k=k), served)


def _search(body: Texts, served: Served) -> Shown:
    return _shown(served.retriever.search_text([body.text], k=body.k), served)


def _map(served: Served) -> Drawn:
    """Ids, titles and points of the items, evenly thinned."""
    if served.records is None or not (served.records / ItemMap.FILE).is_file():
        raise InputError("no map of the items was recorded with this version; a run of `recsys publish` writes one")
    drawn, encoder = ItemMap.read(served.records), served.retriever.bundle.encoder
    every = max(1, len(drawn.positions) // MAP_POINTS)
    ids = encoder.ids(pl.Series(drawn.positions[::every], dtype=pl.Int32).to_numpy())
    return Drawn(items=_titled(served.retriever, ids), xy=drawn.xy[::every])


def _shown(answers: Recommendations, served: Served) -> Shown:
    """The answer to the only query."""
    items = [
        Scored(item_id=item.item_id, title=item.title, score=score)
        for item, score in zip(_titled(served.retriever, answers.item_ids[0]), answers.scores[0], strict=True)
    ]
    return Shown(items=items, reason=answers.reasons[0], version=served.version)


def _titled(retriever: Retriever, item_ids: pl.Series) -> list[Item]:
    titles = retriever.titles_of(item_ids)
    return [Item(item_id=item_id, title=title) for item_id, title in zip(item_ids, titles, strict=True)]
