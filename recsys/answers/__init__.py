"""What is returned: which items may be, the answer for users nothing is known of, and the answers themselves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
