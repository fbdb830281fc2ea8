"""Delta tables: a folder or an address under which there is a ``_delta_log``. The newest version is read.

The files of a version are never changed, so the table's id and the version say what is read.
"""

from pathlib import PurePosixPath
from typing import Any

import polars as pl

from ... import files
from ...errors import InputError
from ...extras import library
from ...paths import address_of, local_path
from .forms import is_table
from .objects import holds, is_object
from .source import Identity

LOG = "_delta_log"


def is_delta(location: str, role: str) -> bool:
    """Whether a location is the folder of a Delta table."""
    if not is_object(location):
        return address_of(location) is None and (local_path(location) / LOG).is_dir()
    is_pattern = any(sign in location for sign in "*?[")
    return not is_pattern and not is_table(PurePosixPath(location).name) and holds(location, LOG, role)


def scan_delta(location: str, role: str) -> pl.LazyFrame:
    """The rows of the newest version. Raises InputError if the table is damaged."""
    table = _table(location, role)
    return pl.scan_delta(table)


def delta_digest(location: str, role: str) -> str:
    """The fingerprint of the newest version."""
    table = _table(location, role)
    return files.digest("delta", str(table.metadata().id), table.version())


def delta_identities(location: str, role: str) -> list[Identity]:
    """The table's id and its newest version."""
    table = _table(location, role)
    return [(location, str(table.metadata().id), table.version())]


def _table(location: str, role: str) -> Any:
    deltalake = library("deltalake", "delta", f"the Delta table at {location}")
    try:
        return deltalake.DeltaTable(address_of(location) or str(local_path(location)))
    except (deltalake.exceptions.DeltaError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"cannot read {role} at {location}: {reason}; expected a Delta table: restore its {LOG}"
        ) from error
