"""The kinds of index.

To add one, write a module of this folder that defines an ``IndexKind`` (index_spec.py). For FAISS that is a
``FaissKind``, as in hnsw.py. For another library it is a class with the four methods of ``IndexKind``: build the index,
give candidates from it (``CandidateSource`` in candidates.py), write and read its saved file. Then give the kind a line
in ``KINDS``, its settings fields in ``IndexSpec`` (they are chosen by recall, not by users), and its name a place in
``IndexConfig.kind`` (recsys/config/keys.py).
"""

from .flat import FLAT
from .hnsw import HNSW
from .index_spec import IndexKind
from .ivf import IVF

KINDS: dict[str, IndexKind] = {"exact": FLAT, "hnsw": HNSW, "ivf": IVF}
