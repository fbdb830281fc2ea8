from .exact_batch import multiplies as multiplies
from .exact_request import Scan as Scan
from .faiss_index import IndexSpec as IndexSpec, num_gpus as num_gpus
from .index import ItemIndex as ItemIndex
from .threads import for_users as for_users
