from .loader import Loader as Loader, Step as Step, make_loader as make_loader
from .negatives import (
    NegativePool as NegativePool,
    Negatives as Negatives,
    NegativeSampler as NegativeSampler,
    OwnItems as OwnItems,
)
from .prefetch import steps_on as steps_on
