from .location import without_secrets as without_secrets
from .mlflow_errors import bad_requests as bad_requests
from .names import check_name as check_name
from .runs import DEFAULT_K as DEFAULT_K, RunRecord as RunRecord, logged_bundle_id as logged_bundle_id
from .sources import MODEL_URI as MODEL_URI, resolve as resolve
from .store import (
    CHALLENGER as CHALLENGER,
    CHAMPION as CHAMPION,
    PREVIOUS as PREVIOUS,
    Registry as Registry,
)
from .version_history import VersionChange as VersionChange
from .versions import Version as Version
