"""Paths as people write them: ``~``, ``file://`` and relative ones become local paths; cloud addresses are refused."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .errors import InputError

# "s3://" becomes "s3:/" where a path is made of it, so one slash is enough for the known ones
_CLOUD = re.compile(r"(s3[an]?|gc?s|az|abfss?|adl|wasbs?|hdfs|webhdfs|dbfs|oss|hf|https?|s?ftp):/", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def local_path(location: str | Path, folder: Path | None = None) -> Path:
    """The local path that ``location`` means.

    Args:
        location: A path, a pattern of paths, or a ``file://`` address. A leading ``~`` is the home folder, unless there
            is something of that very name.
        folder: What a relative path is relative to; None for the working directory, which is then not added.

    Raises:
        InputError: An address of another machine or of a cloud store, or no path at all.
    """
    text = str(location)
    if "\0" in text:
        raise InputError(f"{text!r} is no path; expected one without NUL characters")
    if re.match(r"file:/", text, re.IGNORECASE):
        address = urlsplit(text, allow_fragments=False)
        if address.netloc not in ("", "localhost"):
            raise InputError(f"{text} is on {address.netloc}; expected a local path: write file:///PATH")
        # a "?" is part of the path, too: a file has no query
        return Path(unquote(address.path + (f"?{address.query}" if address.query else "")))
    if _CLOUD.match(text) or _ADDRESS.match(text):
        text = re.sub(r"^([^:/]+):/(?!/)", r"\1://", text)
        raise InputError(f"{text} is no local path; expected one: copy the files here first, or mount the store")
    path = Path(text)
    if text.startswith("~") and not (path if folder is None else folder / path).exists():
        try:
            path = path.expanduser()
        except RuntimeError:  # nobody has that name
            path = Path(text)
    return path if folder is None else folder / path
