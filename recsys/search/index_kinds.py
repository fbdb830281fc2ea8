"""The kinds of index.

To add one, write a module of this folder that defines an ``IndexKind`` (index_spec.py). For FAISS that is a
``FaissKind``, as in hnsw.py. For another library it is a class with the four methods of ``IndexKind``: build the index,
give candidates from it (``CandidateSource`` in candidates.py), write and read its saved file. Then give the kind a line
in ``KINDS``, its settings fields in ``IndexSpec`` (they are chosen by recall, not by users), and its name a place in
``IndexConfig`` (recsys/config/index_keys.py).
"""

from .flat import BYTES, FLAT
from .hnsw import HNSW
from .index_spec import IndexKind
from .ivf import CODES, IVF
from .vectors import Float32

KINDS: dict[str, IndexKind] = {"exact": FLAT, "bytes": BYTES, "hnsw": HNSW, "ivf": IVF, "codes": CODES}
EXACT_LIMIT = 500_000  # the most items that "auto" searches exactly: 4 ms per user, and nothing is missed
FULL_LIMIT = 4 << 30  # bytes of vectors, of which an IVF index holds a copy; beyond, "auto" takes codes instead
FEWEST_CODED = 1_000  # items; fewer do not show which codes suit them


def kind_by_size(vectors_ND: Float32) -> str:
    """What the kind "auto" means for a catalogue matrix."""
    if len(vectors_ND) - 1 <= EXACT_LIMIT:
        return "exact"
    return "ivf" if vectors_ND.nbytes <= FULL_LIMIT else "codes"
