"""How one index is described, and what a kind of index must define; the kinds are listed in index_kinds.py.

Legend: N items, D dimensions. A catalogue matrix is [N + 1, D] float32; row 0 is "unknown" and not indexed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field

from .candidates import CandidateSource
from .faiss_file import Bytes
from .vectors import Float32

Setting = Annotated[int, Field(ge=1, lt=1 << 31)] | None


@dataclass(frozen=True)
class IndexSpec:
    """What an index is: stored as JSON in the bundle's model.json.

    kind: a name in ``index_kinds.KINDS``. recall: mean recall@100 against exact search, measured when the index was
    built (exact: 1.0); below ``target_recall`` if no setting that was tried reaches it. Parameters of other kinds are
    None.
    """

    kind: str
    recall: Annotated[float, Field(ge=0, le=1)] | None = None
    target_recall: Annotated[float, Field(gt=0, le=1)] | None = None
    m: Setting = None
    ef_construction: Setting = None
    ef_search: Setting = None
    num_lists: Setting = None
    num_probes: Setting = None
    overfetch: Setting = None

    @property
    def is_exact(self) -> bool:
        """Whether the index misses nothing."""
        return self.kind in {"exact", "bytes"}


class IndexKind(Protocol):
    """A kind of index. The index itself is whatever object its library works with."""

    def build(self, vectors_ND: Float32) -> tuple[Any, list[IndexSpec]]:
        """An index of a catalogue matrix, and the specs that it can be searched with, from fast to thorough."""

    def source(self, index: Any, spec: IndexSpec, *, max_norm: float, device: str) -> CandidateSource:
        """Candidates from the index. max_norm: the length of the longest item vector. device: "cpu", "cuda", "auto"."""

    def write(self, index: Any, path: Path) -> None:
        """Write the index to a file."""

    def read(self, content: Bytes, vectors_ND: Float32, spec: IndexSpec) -> Any:
        """The index that ``write`` wrote. Raises InputError, and never crashes, if ``content`` is any other."""
