"""Where results may be written: never among the files that the next run would read as its input."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from ..paths import address_of, bucket_address, local_path, matches_pattern
from .sources import is_read


def require_outside(out: str | Path, **locations: str | None) -> None:
    """Raise InputError if Parquet files in the folder ``out`` would be read as part of an input.

    Args:
        out: The folder, which may be missing, or the address of one in a bucket.
        locations: Files, patterns or folders, by what they are: events, items, users, queries; None for no such input.
    """
    for role, location in locations.items():
        if location is not None and _holds(location, out):
            raise InputError(
                f"{out} is inside the {role} at {location}, where the next run would read it as {role}; "
                "choose an --out elsewhere"
            )


def _holds(location: str, out: str | Path) -> bool:
    """Whether a new table in ``out`` is read as part of an input."""
    address, bucket = address_of(location), bucket_address(out)
    if address is not None or bucket is not None:
        return address is not None and bucket is not None and is_read(location, f"{bucket}/parts/part-00000.parquet")
    return any(
        _is_read(name_of(Path(out)), name_of(local_path(location)))
        for name_of in (Path.absolute, _real)  # as they are called, and where they are
    )


@contextmanager
def input_error_if_full(path: Path) -> Iterator[None]:
    """Turn what is raised where there is no room, by Polars in words only, into one InputError about ``path``."""
    try:
        yield
    except Exception as error:
        for code in (errno.ENOSPC, errno.EDQUOT):
            if getattr(error, "errno", None) == code or f"(os error {code})" in str(error):
                raise InputError(
                    f"cannot write {path}: {os.strerror(code)}; make room there, or choose another place"
                ) from error
        raise


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve fails on a link to itself


def _is_read(folder: Path, location: Path) -> bool:
    """Whether a new table in ``folder`` is among the files behind ``location``."""
    if location.exists():
        return location.is_dir() and _is_member(folder, location)
    table = folder / "part-00000.parquet"
    matching = [path for path in (table, *table.parents) if matches_pattern(path.parts, location.parts)]
    return any(path == table or _is_member(folder, path) for path in matching)


def _is_member(folder: Path, parent: Path) -> bool:
    """Whether ``folder`` is in ``parent``, and not behind a name that readers skip."""
    if not folder.is_relative_to(parent):
        return False
    return not any(part.startswith((".", "_")) for part in folder.relative_to(parent).parts)
