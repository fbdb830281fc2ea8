"""The service over HTTP: requests and answers as JSON, health, metrics, and a page."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
