"""Files on this machine: a path, a pattern of files, or a folder, also a hive-partitioned one."""

import os
import stat
from pathlib import Path

from ... import files
from ...errors import InputError
from ...paths import local_path
from .forms import EXPECTED, File, Files, Form, form_of, is_hidden, is_table
from .source import Identity, input_error_if_unreadable


def source_files(location: str, role: str = "input") -> list[Path]:
    """The files behind ``location``, in the order in which they are read.

    Something of that very name is meant before a pattern is. Inside a folder, and by a pattern, names that start with
    "." or "_" are skipped, as the writers of such folders expect.

    Raises:
        InputError: There is no file, or something that is no regular file.
    """
    with input_error_if_unreadable(f"{role} at {location}", "expected files that can be read"):
        sources = list(dict.fromkeys(  # without repeats: "**" matches a folder and what is in it
            file for match in _matches(location, role) for file in (_members(match) if match.is_dir() else [match])
        ))  # fmt: skip
        for file in sources:
            if not file.is_file():
                raise InputError(f"{role}: {file} is {_nature(file)}; expected regular files only: leave it out")
            if str(file) != os.fsencode(file).decode("utf-8", "replace"):  # Polars could not open it
                raise InputError(f"{role}: {os.fsencode(file)!r} is no name in UTF-8; expected one: rename the file")
    if not sources:
        raise InputError(f"{role}: no table at {location}; expected a file, a pattern or a folder of {EXPECTED} files")
    return sources


def _matches(location: str, role: str) -> list[Path]:
    """What a path or pattern matches. As far as it exists literally, ``[ ] * ?`` are letters."""
    path = local_path(location)
    if path.exists() or path.is_symlink() or not path.parts:
        return [path]
    existing = next(parent for parent in path.parents if parent.exists())
    pattern = path.relative_to(existing)
    try:
        matches = sorted(existing.glob(str(pattern)))
    except (ValueError, NotImplementedError) as error:  # pathlib raises either for a malformed pattern
        raise InputError(f"{role}: {location} is no pattern of files: {error}") from error
    wanted = {part[0] for part in pattern.parts if is_hidden(part)}
    return [
        match
        for match in matches
        if all(part[0] in wanted for part in match.relative_to(existing).parts if is_hidden(part))
    ]


def _members(folder: Path) -> list[Path]:
    """The tables in a folder and the folders in it, also where those are links."""
    members, entered = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        here = Path(parent)
        if here.resolve() in entered:  # a link to a folder above
            folders.clear()
            continue
        entered.add(here.resolve())
        folders[:] = [name for name in folders if not is_hidden(name)]
        members += [here / name for name in names if not is_hidden(name) and is_table(name)]
    return sorted(members)


def _raise(error: OSError) -> None:
    raise error


def _nature(file: Path) -> str:
    if not file.exists():
        return "a link to nothing" if file.is_symlink() else "gone"
    mode = file.stat().st_mode
    for is_nature, name in ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket")):
        if is_nature(mode):
            return name
    return "a device"


def open_files(location: str, role: str) -> Files:
    """The files behind ``location``, with their forms. Raises InputError if a content is not what its ending says."""
    forms: dict[File, Form] = {file: form_of(file, role) for file in source_files(location, role)}
    return Files(forms, is_hive=not local_path(location).is_file())


def files_digest(location: str, role: str) -> str:
    """The fingerprint of the bytes, and of the values that hive folders carry in their names."""
    return files.digest(*(
        [files.sha256(file), [part for part in file.parent.parts if "=" in part]]
        for file in source_files(location, role)
    ))  # fmt: skip


def files_identities(location: str, role: str) -> list[Identity]:
    """What tells that the files are the same ones, not opened for writing since: programs cannot set ctime."""
    stats = [(str(file), file.stat()) for file in source_files(location, role)]
    return [(name, stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime_ns) for name, stat in stats]
