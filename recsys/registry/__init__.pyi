from .runs import RunRecord as RunRecord
from .store import (
    CHALLENGER as CHALLENGER,
    CHAMPION as CHAMPION,
    PREVIOUS as PREVIOUS,
    Registry as Registry,
    Version as Version,
    check_name as check_name,
    resolve as resolve,
)
from .version_history import VersionChange as VersionChange
