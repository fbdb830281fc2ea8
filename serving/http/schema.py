"""What is asked and answered over HTTP, as typed models: the source of the OpenAPI description."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, JsonValue, StrictInt, StrictStr, Tag
from pydantic_core import to_json
from starlette.responses import Response

MAX_K, MAX_IDS, MAX_REQUESTS, MAX_TEXT = 1_000, 10_000, 256, 2_000
MAX_MASKED = 200_000
MAX_LEVELS, MAX_VALUES = 16, 20_000  # of a tree of conditions
Value = TypeVar("Value")
Row = dict[str, Any]  # an item's values, by column
WholeNumber = Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]
Text = Annotated[StrictStr, Field(max_length=MAX_TEXT)]
Id = WholeNumber | Text
Ids = Annotated[list[Id], Field(max_length=MAX_IDS)]
Plain = bool | WholeNumber | float | Text | None
NumItems = Annotated[StrictInt, Field(ge=1, le=MAX_K, description="how many items")]
Columns = Annotated[
    list[Text], Field(max_length=20, description="item columns to answer, such as title", examples=[["title"]])
]


def _within_limits(tree: Value) -> Value:
    """The tree, if it is neither too deep nor too large."""
    level, count = [tree], 0
    for _ in range(MAX_LEVELS):
        level = [
            child
            for node in level
            if isinstance(node, list | dict)
            for child in (node if isinstance(node, list) else node.values())
        ]
        count += len(level)
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values")
        if not level:
            return tree
    raise ValueError(f"more than {MAX_LEVELS} levels deep")


WhereTree = Annotated[
    Any,  # JSON
    AfterValidator(_within_limits),
    Field(description="conditions on item columns", examples=[[["year", ">=", 1950]]]),
]


class Strict(BaseModel):
    """A body whose unknown members are refused, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Given = Annotated[dict[Text, Plain | list[Plain]], Field(max_length=200)]  # columns and their values


class RecommendRequest(Strict):
    """One query: a known user, a history, or both."""

    user_id: Id | None = Field(None, description="a user of the log that the service knows", examples=["u00042"])
    history: Ids | None = Field(None, description="item ids, oldest first, instead of the log's", examples=[["i00007"]])
    recent: Ids | None = Field(
        None, description="item ids that come after what is known of the user", examples=[["i00012"]]
    )
    user: Given | None = Field(None, description="columns of the user, by name")
    k: NumItems = 10
    exclude_seen: bool = Field(True, description="leave out the items of the history")
    exclude: Ids | None = Field(None, description="item ids that must not be answered")
    only: Ids | None = Field(None, description="item ids of which the answer may consist")
    where: WhereTree = Field(default_factory=list)
    per: Annotated[dict[Text, WholeNumber], Field(max_length=20)] | None = Field(
        None, description="the most items for each value of a column"
    )
    diversity: float = Field(0.0, ge=0, lt=1, description="0: by score alone; towards 1: unlike one another")
    columns: Columns = []


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


class SimilarRequest(Strict):
    """The items most like one item."""

    item_id: Id = Field(description="an item of the catalogue", examples=["i00007"])
    k: NumItems = 10
    where: WhereTree = Field(default_factory=list)
    columns: Columns = []


class SearchRequest(Strict):
    """The items that a text describes."""

    text: Text = Field(description="what to look for", examples=["space opera"])
    item: Given | None = Field(None, description="other columns of the item that is sought", examples=[{"year": 1950}])
    k: NumItems = 10
    where: WhereTree = Field(default_factory=list)
    columns: Columns = []


class ExplainRequest(Strict):
    """Why an item is recommended to a user or a history."""

    item_id: Id = Field(description="the item to explain", examples=["i00007"])
    user_id: Id | None = Field(None, description="a user of the log that the service knows", examples=["u00042"])
    history: Ids | None = Field(None, description="item ids, oldest first, instead of the log's")
    columns: Columns = []


class InvocationsRequest(Strict):
    """Records as MLflow's server takes them: history and, optionally, k and user_id."""

    dataframe_records: list[dict[str, JsonValue]] | None = Field(
        None, max_length=MAX_REQUESTS, examples=[[{"history": ["i00007", "i00012"], "k": 3}]]
    )
    dataframe_split: "SplitRecords | None" = None
    params: dict[str, JsonValue] | None = Field(None, description="k and exclude_seen", examples=[{"k": 3}])


class SplitRecords(Strict):
    """Records as a list of columns and a list of rows. index is not read."""

    columns: list[str] = Field(max_length=20)
    data: list[list[JsonValue]] = Field(max_length=MAX_REQUESTS)
    index: list[JsonValue] | None = None


class Signed(BaseModel):
    """Who gave an answer."""

    bundle_id: str
    version: int | None = Field(description="its number in the registry; null for a folder")
    request_id: str


class Masked(Strict):
    """Items that nobody gets for now, such as those out of stock."""

    item_ids: Annotated[list[Id], Field(max_length=MAX_MASKED)] = Field(examples=[["i00007"]])


class MaskInForce(Masked):
    """The mask; its version counts the changes, and every answer carries it."""

    version: int


class Recommended(Signed):
    """The items, best first: item_id, score and the columns that were asked for."""

    mask_version: int | None = Field(description="of the mask that was kept")
    items: list[Row]
    reason: str | None = Field(description="why there are fewer than k items, or popular ones; null if neither")
    degraded: bool = Field(description="whether the popular items stand in for the model's")


class RecommendedList(BaseModel):
    """An answer for each request, in order."""

    answers: list[Recommended]


class Explained(Signed):
    """The item's score and rank, and what each item of the history contributes to it, the largest first."""

    score: float
    rank: int = Field(description="among the whole catalogue, from 1, with seen items counted")
    contributions: list[Row]


class Predictions(Signed):
    """A row for each record: item_ids, scores, reason and bundle_id."""

    predictions: list[Row]


class Live(BaseModel):
    """That the process answers."""

    status: str = "live"


class Ready(BaseModel):
    """Which version answers, and what keeps a newer one from it."""

    status: str = "ready"
    version: int | None
    bundle_id: str
    refused: str | None = Field(description="why the version that was offered last was not taken")
    items: str | None = Field(description="why the table of items could not be read the last time; null if it could")
    registry: str | None = Field(description="why the registry could not be asked; null if it could")


class Failure(BaseModel):
    """What is wrong with a request, in one line."""

    error: str
    request_id: str


MEMBERS = {
    member
    for model in (
        RecommendRequest, RecommendRequests, SimilarRequest, SearchRequest, ExplainRequest, InvocationsRequest,
        SplitRecords, Masked,
    )
    for member in model.model_fields
}  # fmt: skip


def as_response(answer: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer as JSON; bytes as base64, and null for a number that JSON does not have."""
    content = to_json(answer, bytes_mode="base64", inf_nan_mode="null", serialize_unknown=True)
    return Response(content, status, headers, "application/json")
