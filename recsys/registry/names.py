"""The names of registered models: which are allowed, and what the lock of a model is called."""

import re
import unicodedata

from ..errors import InputError

LOCK = ".lock"
BROKEN = f"{LOCK}.broken-"  # of a lock that is being removed
NAME_BYTES = 200  # a folder's name may have 255, and a lock's name is longer than the model's
FORBIDDEN = "/\\:@%?#<>|*\"'"


def check_name(name: str) -> None:
    """Raise InputError unless a name can live in ``models:/NAME@alias``, as a folder, and beside the locks."""
    fault = _fault(name)
    if fault is not None:
        raise InputError(f"model name {name!r} (registry.name of a configuration) {fault}; choose another")


def lock_name(name: str) -> str:
    """The registered model that is the lock of a model."""
    return f"{name}{LOCK}"


def _fault(name: str) -> str | None:
    hidden = [character for character in name if unicodedata.category(character)[0] == "C"]
    wrong = sorted({*hidden, *(character for character in name if character in FORBIDDEN)})
    if wrong:
        return (
            f"has {', '.join(map(repr, wrong))}; expected a name without {' '.join(FORBIDDEN)} and control characters"
        )
    if not name or name != " ".join(name.split()):
        return "is empty or has spaces at an end or beside each other; expected a name without"
    if name.startswith((".", "-")) or name.endswith("."):
        return "starts with . or -, or ends with .; expected a name without"
    if re.search(rf"{re.escape(LOCK)}$|{re.escape(BROKEN)}", name, re.IGNORECASE):
        return f"is that of a lock; expected a name without {LOCK} at its end"
    if len(name.encode()) > NAME_BYTES:
        return f"has {len(name.encode())} bytes; expected a name of at most {NAME_BYTES}"
    if unicodedata.normalize("NFC", name) != name:
        return (
            f"is spelt with combining characters; expected {unicodedata.normalize('NFC', name)!r}, which looks the same"
        )
    return None
