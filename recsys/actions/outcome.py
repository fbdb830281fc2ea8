"""What a command did: one typed object that a person reads as lines and a program as JSON."""

import shlex
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence

from pydantic import BaseModel


class Outcome(BaseModel, ABC, frozen=True):
    """What a command did. Its fields are the members of the JSON object that ``--json`` prints.

    exit_code: 0 done; 2 something is missing; 3 the gate refused. next: the command to type next, if there is one.
    """

    exit_code: int = 0
    next: str | None = None

    @abstractmethod
    def lines(self) -> list[str]:
        """The result as a person reads it."""


def next_command(*words: object, **flags: object) -> str:
    """A command line that can be typed as it is.

    Args:
        words: The command and its positional arguments.
        flags: Values by flag name. None leaves a flag out, a list repeats it. A registry's password is not shown.
    """
    from ..registry import without_secrets

    arguments = [str(word) for word in words]
    for name, setting in flags.items():
        values = setting if isinstance(setting, Sequence) and not isinstance(setting, str) else [setting]
        for value in values:
            shown = without_secrets(str(value)) if name == "registry" else str(value)
            arguments += [] if value is None else [f"--{name}", shown]
    return f"{program()} {shlex.join(arguments)}"


def program() -> str:
    """How to call recsys from here: the environment that it is installed in may not be on the path."""
    if shutil.which("recsys"):
        return "recsys"
    return "python -m recsys.cli" if sys.argv[0].endswith(".py") else shlex.quote(sys.argv[0])


def in_words(counts: dict[str, int]) -> str:
    """Counts as "5,000 users, 131,117 events"; those that are 0 are left out."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
