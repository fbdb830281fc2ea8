"""Public downloads to the Parquet files and the first config.toml that the feature job reads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
