"""The two towers: their embedding tables, and the encoding of items and users as vectors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
