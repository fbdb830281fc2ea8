"""Training in several processes, with tables that may be larger than any one of them could hold."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
