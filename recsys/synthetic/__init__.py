"""Synthetic data: a world with planted tastes whose best possible score is known, and plain logs for scale tests."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
