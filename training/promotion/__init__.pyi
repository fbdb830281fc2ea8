from .aliases import history as history, rollback as rollback
from .checks import SliceScores as SliceScores, ahead as ahead, floors as floors
from .gate import promote as promote
