from .item_item_model import Entries as Entries, ItemItemModel as ItemItemModel
from .ranking import (
    CELLS as CELLS,
    Bool as Bool,
    Scores as Scores,
    Sparse as Sparse,
    best as best,
    best_entries as best_entries,
    event_weights as event_weights,
    history_weights as history_weights,
    rank_by as rank_by,
    rank_entries as rank_entries,
    rows_of as rows_of,
)
