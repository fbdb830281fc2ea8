"""The errors that a user can fix. The command line prints them as one line; any other exception is a bug."""


class InputError(ValueError):
    """Bad input. The message is one line: what was found, what was expected, and how to fix it."""


class BundleError(InputError):
    """A bundle that cannot be trusted or read: unfinished, changed after it was sealed, or of another format."""


class RegistryError(InputError):
    """A registry that cannot be used: out of reach, closed to this login, damaged, or nothing that MLflow can open."""
