"""The kinds of index.

To add one, write a module of this folder that defines an ``IndexKind`` (index_spec.py), as hnsw.py does: a
``FaissKind``, or one of another library with its own source of candidates and its own file. Give it a line in
``KINDS``, its settings fields in ``IndexSpec`` (index_spec.py), and its name a place in ``IndexConfig.kind``
(recsys/config_keys.py).
"""

from .flat import FLAT
from .hnsw import HNSW
from .index_spec import IndexKind
from .ivf import IVF

KINDS: dict[str, IndexKind] = {"exact": FLAT, "hnsw": HNSW, "ivf": IVF}
