from .aliases import (
    Rollback as Rollback,
    VersionHistory as VersionHistory,
    make_challenger as make_challenger,
    rollback as rollback,
    version_history as version_history,
)
from .checks import ahead as ahead, floors as floors
from .decision import Check as Check, Decision as Decision
from .evidence import SliceScores as SliceScores
from .gate import promote as promote
from .last_resort import BASELINE_TAG as BASELINE_TAG, baseline_of as baseline_of, is_last_resort as is_last_resort
