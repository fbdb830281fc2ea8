from . import checkpoint as checkpoint
from .checkpoint import Checkpoint as Checkpoint, Identity as Identity
from .saver import Saver as Saver
