"""What a table is read from: files, objects in a bucket, a table of a lake, a query, or a table in memory."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
