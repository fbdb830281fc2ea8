from .baselines import feature_matrix as feature_matrix, metadata_knn as metadata_knn
from .evaluate import (
    EASE as EASE,
    FEW_QUERIES as FEW_QUERIES,
    ITEM_KNN as ITEM_KNN,
    K_VALUES as K_VALUES,
    MODEL as MODEL,
    POPULARITY as POPULARITY,
    SEED as SEED,
    EvaluationSet as EvaluationSet,
    rank_queries as rank_queries,
    summarise as summarise,
)
