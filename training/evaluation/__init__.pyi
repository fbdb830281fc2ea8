from .baselines import (
    BASELINES as BASELINES,
    MODEL as MODEL,
    SEED as SEED,
    Baseline as Baseline,
    RankingTask as RankingTask,
    histories_to_fit as histories_to_fit,
    label as label,
)
from .evaluate import (
    FEW_QUERIES as FEW_QUERIES,
    HEADLINE as HEADLINE,
    K_VALUES as K_VALUES,
    RankBlocks as RankBlocks,
    item_parts as item_parts,
    per_query as per_query,
    rank_blocks as rank_blocks,
    rank_queries as rank_queries,
    summarise as summarise,
    user_vectors as user_vectors,
)
from .evaluation_set import EvaluationSet as EvaluationSet
from .geometry import (
    ONE_DIRECTION as ONE_DIRECTION,
    Geometry as Geometry,
    are_few as are_few,
    collapsed as collapsed,
    map_2d as map_2d,
    measure as measure,
)
from .left_out import NOTHING as NOTHING, LeftOut as LeftOut
from .metadata_knn import feature_matrix as feature_matrix, metadata_knn as metadata_knn
from .on_ray import rank_on_ray as rank_on_ray
from .record import (
    EXPOSURE as EXPOSURE,
    FIGURES as FIGURES,
    GEOMETRY as GEOMETRY,
    GOLDEN as GOLDEN,
    MAP as MAP,
    PARTS as PARTS,
    SLICES as SLICES,
    Differences as Differences,
    EvaluationFigures as EvaluationFigures,
    EvaluationRecord as EvaluationRecord,
    Exposure as Exposure,
    ItemParts as ItemParts,
    MethodFigures as MethodFigures,
    SliceFigures as SliceFigures,
)
from .records import (
    GOLDEN_QUERIES as GOLDEN_QUERIES,
    write_records as write_records,
)
from .sketch import NUM_BINS as NUM_BINS, Sketch as Sketch
from .slices import Slice as Slice, slices_of as slices_of
