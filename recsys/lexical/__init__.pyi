from .hybrid import (
    HybridIndex as HybridIndex,
    VectorStatistics as VectorStatistics,
    fused as fused,
    moments as moments,
    z_scores as z_scores,
)
from .lexical_index import LexicalIndex as LexicalIndex, Stopwords as Stopwords
