from .column_types import (
    INTEGER as INTEGER,
    NUMERIC as NUMERIC,
    RECOMMENDATIONS as RECOMMENDATIONS,
    cast_ids as cast_ids,
    id_columns as id_columns,
    require_same_kind as require_same_kind,
    widen as widen,
    with_decimal_points as with_decimal_points,
)
from .dataset import (
    Dataset as Dataset,
    QueryPart as QueryPart,
    encode_lists as encode_lists,
    read_arrow as read_arrow,
    write_arrow as write_arrow,
)
from .encoder import Encoder as Encoder
from .events import (
    CleanLog as CleanLog,
    LogCounts as LogCounts,
    clean_events as clean_events,
    clean_rows as clean_rows,
    name_events as name_events,
    open_events as open_events,
    require_sound_log as require_sound_log,
    scan_events as scan_events,
    without_blank_ids as without_blank_ids,
)
from .factorize import (
    Int32 as Int32,
    Int64 as Int64,
    count_codes as count_codes,
    crc32_of_ids as crc32_of_ids,
    distinct_rows as distinct_rows,
    factorize_ids as factorize_ids,
    lookup_rows as lookup_rows,
    shard_of as shard_of,
    take_in_blocks as take_in_blocks,
)
from .feature_kinds import Transform as Transform, fit_feature as fit_feature
from .history import UserEvents as UserEvents, group_events as group_events, sort_events as sort_events
from .jagged import Jagged as Jagged, as_list_column as as_list_column
from .jagged_parts import JaggedParts as JaggedParts
from .manifest import (
    FORMAT as FORMAT,
    BuildStatistics as BuildStatistics,
    DatasetManifest as DatasetManifest,
    SplitCounts as SplitCounts,
)
from .metadata import (
    OWN_ID as OWN_ID,
    MetadataCounts as MetadataCounts,
    MetadataTable as MetadataTable,
    count_clipped as count_clipped,
    encode_features as encode_features,
    encode_given as encode_given,
    fit_text_vector as fit_text_vector,
    joined_texts as joined_texts,
    read_metadata as read_metadata,
    with_own_id as with_own_id,
)
from .outputs import input_error_if_full as input_error_if_full, require_outside as require_outside
from .queries import read_queries as read_queries, scan_queries as scan_queries
from .query_ids import (
    Ids as Ids,
    UserIds as UserIds,
    id_lists as id_lists,
    id_series as id_series,
    is_list as is_list,
    lookup_user_rows as lookup_user_rows,
    require_known_kind as require_known_kind,
    shown as shown,
)
from .sources import (
    AnySource as AnySource,
    Identity as Identity,
    Source as Source,
    as_source as as_source,
    input_error_if_unreadable as input_error_if_unreadable,
    named as named,
    require_unchanged as require_unchanged,
    source_digest as source_digest,
    source_files as source_files,
    source_identities as source_identities,
)
from .tables import Table as Table, scan_table as scan_table
from .text_columns import MISSING as MISSING
from .times import time_formats as time_formats
