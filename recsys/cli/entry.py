"""The entry point: every command under its name, and its exit code.

What a command does is in recsys/actions, which calls the stages: features, training, serving.
"""

import logging
import os
import sys

from ..actions import invoke
from . import about, answers, pipeline, versions  # noqa: F401  # importing them adds their commands, in this order
from .program import app as app


def main() -> None:
    """Run the command that was typed, and exit with its code: see ``recsys.actions.invocation.invoke``."""
    # threads that spin at every barrier are four times slower on a busy machine (docs/LOG.md); read when torch loads
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["RUST_BACKTRACE"] = os.environ.get("RECSYS_TRACEBACK", "0")  # Polars prints its panics before our line
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # torchrec calls what torch has deprecated
    sys.exit(invoke(app, sys.argv[1:]))
