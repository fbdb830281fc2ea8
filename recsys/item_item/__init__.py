"""Item-item models: one sparse matrix says what follows each item of a history. Baselines serve as these."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
