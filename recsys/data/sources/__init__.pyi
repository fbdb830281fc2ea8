from .forms import TEXT as TEXT, File as File, Files as Files, Form as Form
from .kinds import (
    open_source as open_source,
    require_unchanged as require_unchanged,
    source_digest as source_digest,
    source_identities as source_identities,
)
from .local_files import source_files as source_files
from .objects import is_read as is_read
from .source import (
    AnySource as AnySource,
    Identity as Identity,
    Source as Source,
    as_source as as_source,
    input_error_if_unreadable as input_error_if_unreadable,
    named as named,
)
