from .exact_device import to_device as to_device
from .exact_request import QuantizedCatalogue as QuantizedCatalogue
from .faiss_index import choose_device as choose_device, num_gpus as num_gpus, require_device as require_device
from .fresh_index import AnyIndex as AnyIndex, FreshIndex as FreshIndex, whole as whole
from .index import ItemIndex as ItemIndex
from .index_spec import IndexSpec as IndexSpec
from .recall import recall_at as recall_at
from .rounding import dtype_for_many as dtype_for_many
from .threads import (
    SMALL_BATCH as SMALL_BATCH,
    one_thread_if_few as one_thread_if_few,
    require_threads as require_threads,
)
from .vectors import norms as norms, unit_rows as unit_rows
