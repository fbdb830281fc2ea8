from .access import Access as Access
from .app import make_app as make_app
from .server import (
    SWITCH_SECONDS as SWITCH_SECONDS,
    Address as Address,
    make_server as make_server,
    serve_forever as serve_forever,
)
