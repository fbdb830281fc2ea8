"""What the commands do, and how they show and return it. The flags and the help are in recsys/cli."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
