"""The section ``[index]``: how the items with the highest scores are found, and in how much memory."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from .section import Section


def _memory(value: str, info: ValidationInfo) -> str:
    if value != "auto" and info.data.get("kind", "auto") != "auto":
        raise ValueError('"auto" beside an index.kind, which decides what is kept in memory; or leave index.kind out')
    return value


class IndexConfig(Section):
    """How the items with the highest scores are found."""

    kind: Literal["auto", "exact", "hnsw", "ivf"] = "auto"
    """The search index: "auto" is exact up to 500,000 items and IVF beyond; IVF and HNSW trade recall for speed."""
    target_recall: float = Field(0.98, gt=0, le=1)
    """The recall@100 against exact search that an approximate index is tuned to, on validation users. Keep it above
    gate.index_recall, which is measured on other users.
    """
    memory: Annotated[Literal["auto", "bytes", "codes"], AfterValidator(_memory)] = "auto"
    """What the index keeps in memory beside the vectors, which it then reads from their file only where it needs them.
    "bytes": one for each number, and the search is still exact. "codes": half a byte for each number, in an IVF index
    whose recall@100 is index.target_recall. "auto": what is fastest, up to 4 GiB of vectors; for more, codes.
    """

    dimensions: int | None = Field(None, ge=1)
    """How many numbers of every item and user vector serve: those in which the items differ most, so that a half often
    costs little. Vectors, index and search shrink in proportion. Chosen when the bundle is made, without another
    training; the evaluation is that of what serves. Not set: all, model.num_members times model.embedding_dim.
    """

    @property
    def kind_or_memory(self) -> str:
        """The kind of index, by the name that ``ItemIndex.build`` knows."""
        return self.kind if self.memory == "auto" else self.memory
