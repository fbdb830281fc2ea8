"""The configuration: every key with its meaning, and how a TOML file becomes settings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
