from .encoding import encode_catalogue as encode_catalogue, encode_histories as encode_histories
from .feature_tensors import FeatureRows as FeatureRows, FeatureTable as FeatureTable
from .two_tower import (
    INIT_STD as INIT_STD,
    FoldIn as FoldIn,
    MetadataEncoder as MetadataEncoder,
    ModelSpec as ModelSpec,
    TrainBatch as TrainBatch,
    TwoTower as TwoTower,
    UserTower as UserTower,
    table_of as table_of,
)
