from . import checkpoint as checkpoint
from .checkpoint import Checkpoint as Checkpoint, Identity as Identity
from .pieces import load_whole as load_whole
from .saver import Saver as Saver
