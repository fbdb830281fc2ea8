"""What a training keeps on disk, so that it can be continued: written while it runs, and read again."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
