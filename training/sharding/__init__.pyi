from .plan import Processes as Processes, TableOptimizer as TableOptimizer, make_plan as make_plan, shares as shares
from .processes import ALONE as ALONE, State as State, World as World, process_group as process_group
from .tables import (
    Piece as Piece,
    ShardedTables as ShardedTables,
    dense_state as dense_state,
    shard as shard,
    weight_pieces as weight_pieces,
)
