from .dataset import (
    Dataset as Dataset,
    encode_lists as encode_lists,
    read_table as read_table,
    write_table as write_table,
)
from .encoder import Encoder as Encoder, Transform as Transform, fit as fit
from .events import CleanLog as CleanLog, LogCounts as LogCounts, clean as clean, scan_events as scan_events
from .factorize import (
    Int32 as Int32,
    Int64 as Int64,
    counted as counted,
    crc_of as crc_of,
    factorize_ids as factorize_ids,
    rows_of as rows_of,
    shard_of as shard_of,
    taken as taken,
)
from .history import UserEvents as UserEvents, group_events as group_events, in_total_order as in_total_order
from .jagged import Jagged as Jagged, as_lists as as_lists
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
    encode_features as encode_features,
    read_metadata as read_metadata,
    with_own_id as with_own_id,
)
from .parquet import (
    RECOMMENDATIONS as RECOMMENDATIONS,
    cast_ids as cast_ids,
    id_type as id_type,
    read as read,
    readable as readable,
    require_columns as require_columns,
    require_same_kind as require_same_kind,
    scan as scan,
    source_digest as source_digest,
)
from .query_ids import Ids as Ids, id_lists as id_lists, id_series as id_series, rows_of_users as rows_of_users
