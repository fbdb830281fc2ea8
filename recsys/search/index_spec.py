"""How one index is described, and what a kind of index must define; the kinds are listed in index_kinds.py.

Legend: N items, D dimensions. A catalogue matrix is [N + 1, D] float32; row 0 is "unknown" and not indexed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .candidates import CandidateSource
from .vectors import Float32


@dataclass(frozen=True)
class IndexSpec:
    """What an index is: stored as JSON in the bundle's model.json.

    kind: a name in ``index_kinds.KINDS``. recall: mean recall@100 against exact search, measured when the index was
    built (exact: 1.0); below ``target_recall`` if no setting that was tried reaches it. Parameters of other kinds are
    None.
    """

    kind: str
    recall: float | None = None
    target_recall: float | None = None
    m: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None
    num_lists: int | None = None
    num_probes: int | None = None


class IndexKind(Protocol):
    """A kind of index. The index itself is whatever object its library works with."""

    def build(self, vectors_ND: Float32) -> tuple[Any, list[IndexSpec]]:
        """An index of a catalogue matrix, and the specs that it can be searched with, from fast to thorough."""

    def source(self, index: Any, spec: IndexSpec, *, max_norm: float, device: str) -> CandidateSource:
        """Candidates from the index. max_norm: the length of the longest item vector. device: "cpu", "cuda", "auto"."""

    def write(self, index: Any, path: Path) -> None:
        """Write the index to a file."""

    def read(self, path: Path, *, num_items: int, dim: int) -> Any:
        """Read what ``write`` wrote. Raises InputError if it is not an index of this kind and shape."""
