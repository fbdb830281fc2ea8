"""What is asked and answered over HTTP, as typed models: the source of the OpenAPI description."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag

MAX_K, MAX_IDS, MAX_REQUESTS = 1_000, 10_000, 256
Id = int | str
Ids = Annotated[list[Id], Field(max_length=MAX_IDS)]
WhereTree = JsonValue


class Strict(BaseModel):
    """A body whose unknown members are refused, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecommendRequest(Strict):
    """One query: a known user, a history, or both."""

    user_id: Id | None = Field(None, description="a user of the log that the service knows", examples=["u00042"])
    history: Ids | None = Field(None, description="item ids, oldest first, instead of the log's")
    recent: Ids | None = Field(None, description="item ids that come after what is known of the user")
    user: dict[str, Any] | None = Field(None, description="columns of the user, such as age")
    k: int = Field(10, ge=1, le=MAX_K, description="how many items")
    exclude_seen: bool = Field(True, description="leave out the items of the history")
    exclude: Ids | None = Field(None, description="item ids that must not be answered")
    only: Ids | None = Field(None, description="item ids of which the answer may consist")
    where: WhereTree = Field(
        default_factory=list, description="conditions on item columns", examples=[[["year", ">=", 1950]]]
    )
    per: dict[str, int] | None = Field(None, description="the most items for each value of a column")
    diversity: float = Field(0.0, ge=0, lt=1, description="0: by score alone; towards 1: unlike one another")
    columns: list[str] = Field([], max_length=20, description="item columns to answer, such as title")


class RecommendRequests(Strict):
    """Several queries, answered together."""

    requests: list[RecommendRequest] = Field(min_length=1, max_length=MAX_REQUESTS)


def _form(body: Any) -> str:
    return (
        "several" if isinstance(body, RecommendRequests) or (isinstance(body, dict) and "requests" in body) else "one"
    )


RecommendBody = Annotated[
    Annotated[RecommendRequests, Tag("several")] | Annotated[RecommendRequest, Tag("one")], Discriminator(_form)
]


class Signed(BaseModel):
    """Who gave an answer."""

    bundle_id: str
    version: int | None
    request_id: str


class Recommended(Signed):
    """The items, best first: item_id, score and the columns that were asked for."""

    items: list[dict[str, Any]]
    reason: str | None = Field(description="why there are fewer than k items, or popular ones; null if neither")
    degraded: bool = Field(description="whether the popular items stand in for the model's")


class RecommendedList(BaseModel):
    """An answer for each request, in order."""

    answers: list[Recommended]


class Failure(BaseModel):
    """What is wrong with a request, in one line."""

    error: str
    request_id: str
