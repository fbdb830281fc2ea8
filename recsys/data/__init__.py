"""From a table to ids, histories and a dataset. Nothing in this folder imports torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
