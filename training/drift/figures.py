"""The figures of the drift watch as typed models, with the names that they have in JSON."""

from pydantic import BaseModel, ConfigDict, Field

from recsys.plain_text import one_line


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True)


class UserCounts(_Figures):
    """How many users were given, and how many of them were drawn and compared."""

    given: int
    compared: int


class CatalogueSizes(_Figures):
    """How many items A knows, B knows, and both know."""

    a: int = Field(alias="A")
    b: int = Field(alias="B")
    both: int


class NeighbourOverlap(_Figures):
    """Of the ``k`` items nearest to an item by cosine, the share that stays: the mean over a sample of items."""

    k: int
    overlap: float


class ScoreFigures(_Figures):
    """Mean and standard deviation of some scores, as the bundle gives them."""

    mean: float
    std: float


class Scores(_Figures):
    """The scores of the first item of every list, and of all items in the first ``k`` ranks."""

    first: ScoreFigures
    all: ScoreFigures


class SideFigures(_Figures):
    """What one bundle recommends.

    coverage: the share of its catalogue that is in some list. gini: of exposure, 0 if all items are shown equally
    often. novelty: in bits, by A's training counts. popular: the share of the lists that A's most popular tenth of the
    items has.
    """

    coverage: float
    gini: float
    novelty: float
    popular: float
    score: Scores


class Sides(_Figures):
    """The figures of A and of B."""

    a: SideFigures = Field(alias="A")
    b: SideFigures = Field(alias="B")


class ItemInList(_Figures):
    """An item of a list. title: its id where it has none."""

    item_id: int | str
    title: str

    def __str__(self) -> str:
        title, item_id = one_line(self.title), one_line(self.item_id)
        return title if title == item_id else f"“{title}” ({item_id})"


class UserLists(_Figures):
    """What A and B recommend to a user, best first. common: the items of both lists. user_id: None of a stranger."""

    user_id: int | str | None
    common: int
    a: tuple[ItemInList, ...] = Field(alias="A")
    b: tuple[ItemInList, ...] = Field(alias="B")

    @property
    def user(self) -> str:
        """Whose lists these are, in words."""
        return "a user without an id" if self.user_id is None else f"user {one_line(self.user_id)}"


class ListedItem(ItemInList):
    """An item and the share of A's lists and of B's lists that it is in."""

    a: float = Field(alias="A")
    b: float = Field(alias="B")


class DriftFigures(_Figures):
    """How the answers of bundle B differ from those of bundle A. Shares are from 0 to 1.

    a, b: bundle ids. k, deep: lengths of the lists that are compared. overlap, overlap_deep, same_first: the share of
    A's first ``k``, first ``deep`` and first item that B also has there. users_by_common: [k + 1] how many users have
    0, 1, ... k items in common. neighbours: None where A or B serves a baseline, which has no vectors. mixed: the
    share of A's answers that A's user vectors find in B's index, None where the vectors differ in length or there are
    none. new_items: the share of B's lists that A does not know. items: those in most lists, most of B first. hubs:
    those of them that crowd B's lists but not A's. gains, losses: the items whose share of the lists grows or falls
    most. examples: a few users' lists. same_lists: whether every list is the same in A and in B.
    """

    a: str
    b: str
    k: int
    deep: int
    users: UserCounts
    catalogue: CatalogueSizes
    overlap: float
    overlap_deep: float
    same_first: float
    users_by_common: tuple[int, ...]
    neighbours: NeighbourOverlap | None
    mixed: float | None
    new_items: float
    sides: Sides
    items: tuple[ListedItem, ...]
    hubs: tuple[ListedItem, ...]
    gains: tuple[ListedItem, ...]
    losses: tuple[ListedItem, ...]
    examples: tuple[UserLists, ...]
    same_lists: bool
