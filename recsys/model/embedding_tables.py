"""Embedding tables: TorchRec's, which training in several processes needs, or plain ones where it is not installed."""

from importlib.util import find_spec

if find_spec("torchrec") is not None:
    from torchrec import (
        EmbeddingBagCollection,
        EmbeddingBagConfig,
        EmbeddingCollection,
        EmbeddingConfig,
        KeyedJaggedTensor,
        PoolingType,
    )
else:
    from .plain_tables import (
        EmbeddingBagCollection,
        EmbeddingBagConfig,
        EmbeddingCollection,
        EmbeddingConfig,
        KeyedJaggedTensor,
        PoolingType,
    )

__all__ = [
    "EmbeddingBagCollection",
    "EmbeddingBagConfig",
    "EmbeddingCollection",
    "EmbeddingConfig",
    "KeyedJaggedTensor",
    "PoolingType",
]
