"""Folders in a bucket: written once, whole or not at all, and read by way of copies on this machine."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
