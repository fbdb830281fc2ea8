"""Libraries that only some users need, each in an extra of its own; imported where they are used."""

from importlib import import_module
from types import ModuleType

from .errors import InputError


def library(name: str, extra: str, what: str) -> ModuleType:
    """The module of a library that an extra installs.

    Args:
        name: The module.
        extra: What installs it.
        what: What needs it, in an error.

    Raises:
        InputError: It is not installed, or a part of it is missing.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"{what} cannot be used without {name.partition('.')[0]} ({error}); expected the extra {extra!r}: "
            f"pip install 'recsys[{extra}]'"
        ) from error
