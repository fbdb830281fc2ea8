"""A long-lived service around a bundle: it follows the registry, batches by itself and never mixes two versions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
