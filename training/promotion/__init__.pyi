from .aliases import (
    DATASET_TAG as DATASET_TAG,
    Rollback as Rollback,
    VersionHistory as VersionHistory,
    finish_promotion as finish_promotion,
    make_challenger as make_challenger,
    rollback as rollback,
    version_history as version_history,
)
from .checks import ahead as ahead, floors as floors
from .decision import Check as Check, Decision as Decision
from .evidence import SliceScores as SliceScores
from .freshness import REGISTERED_TAG as REGISTERED_TAG, registered as registered
from .gate import promote as promote
from .last_resort import BASELINE_TAG as BASELINE_TAG, baseline_of as baseline_of, is_last_resort as is_last_resort
from .refresh_gate import decide_refresh as decide_refresh, promote_refresh as promote_refresh
