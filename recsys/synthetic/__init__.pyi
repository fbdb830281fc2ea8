from .logs import make_log as make_log, paired_scores as paired_scores
from .world import World as World, make_world as make_world
