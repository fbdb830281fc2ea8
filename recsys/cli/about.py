"""The commands that say what there is: keys and machine."""

from typing import TYPE_CHECKING

from .. import actions
from ..actions import command
from .program import app

if TYPE_CHECKING:
    from ..actions import Outcome


@command(app, stages=0)
def config() -> "Outcome":
    """Print every configuration key with its default, its meaning and its name for --set, as a commented TOML file.

    Example: recsys config > all-keys.toml
    """
    return actions.print_config()


@command(app, stages=1)
def doctor() -> "Outcome":
    """Show what is installed, which devices there are, what is missing and the command that installs it.

    Example: recsys doctor
    """
    return actions.examine_machine()
