"""The errors that a user can fix. The command line prints them as one line; any other exception is a bug."""

from pydantic import ValidationError


class InputError(ValueError):
    """Bad input. The message is one line: what was found, what was expected, and how to fix it."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a query that the message names may have several


class BundleError(InputError):
    """A bundle that cannot be trusted or read: unfinished, changed after it was sealed, or of another format."""


class RegistryError(InputError):
    """A registry that cannot be used: out of reach, closed to this login, damaged, or nothing that MLflow can open."""


def reason(error: BaseException) -> str:
    """An error in one line; of the errors that pydantic lists, the first."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join([".".join(map(str, first["loc"])), first["msg"]] if first["loc"] else [first["msg"]])
    return next(iter(str(error).splitlines()), type(error).__name__)
