from .embedding_tables import INIT_STD as INIT_STD, EmbeddingTable as EmbeddingTable
from .encoding import (
    KnownVectors as KnownVectors,
    encode_catalogue as encode_catalogue,
    encode_histories as encode_histories,
    known_profiles as known_profiles,
    metadata_vectors as metadata_vectors,
)
from .feature_tensors import ColumnUpdate as ColumnUpdate, FeatureRows as FeatureRows, FeatureTable as FeatureTable
from .item_encoder import ItemEncoder as ItemEncoder
from .metadata_encoder import MetadataEncoder as MetadataEncoder, table_name as table_name
from .model_spec import HistoryEncoder as HistoryEncoder, ModelSpec as ModelSpec, shared_columns as shared_columns
from .narrowing import narrowed as narrowed, principal_directions as principal_directions
from .prepared_encoder import PreparedEncoder as PreparedEncoder
from .two_tower import TrainBatch as TrainBatch, TwoTower as TwoTower
from .user_tower import FoldIn as FoldIn, UserTower as UserTower
