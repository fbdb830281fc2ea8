"""One call of the command line: the flag --json, exit codes, and what is printed where.

Results go to stdout and everything else to stderr. With ``--json`` stdout holds exactly one JSON object.
"""

import functools
import inspect
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import App, CycloptsError, Parameter

from ..errors import InputError
from ..paths import local_path

if TYPE_CHECKING:
    from .outcome import Outcome

JSON_FLAG = "--json"
BUG = """\
This is a bug in recsys {version}, not a mistake of yours. Please open an issue in the repository that you got recsys
from, with the lines above and the output of `recsys doctor`."""
JsonFlag = Annotated[bool, Parameter(name=JSON_FLAG, negative=(), help="print one JSON object to stdout")]
Run = TypeVar("Run", bound="Callable[..., Outcome]")


@dataclass(frozen=True)
class Finished:
    """A command that ended, with the seconds of its stages."""

    outcome: "Outcome"
    stages: dict[str, float]


def command(app: App, *, stages: int) -> Callable[[Run], Run]:
    """Register a function as a command: with the flag ``--json``, and with its progress shown.

    Args:
        app: The command line, or a group of commands.
        stages: How many stages the command has; see ``recsys.progress``.
    """

    def register(run: Run) -> Run:
        @functools.wraps(run)
        def with_json(*arguments: Any, json: bool = False, **flags: Any) -> Finished:
            from .console import watching

            with watching(stages) as plan:
                local = {name: _local(value) for name, value in flags.items()}
                return Finished(run(*map(_local, arguments), **local), plan.seconds)

        signature, flag = inspect.signature(run), inspect.Parameter.KEYWORD_ONLY
        parameters = [*signature.parameters.values(), inspect.Parameter("json", flag, default=False)]
        with_json.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        annotations = {name: hint for name, hint in run.__annotations__.items() if name != "return"}
        with_json.__annotations__ = annotations | {"json": JsonFlag}
        app.command(with_json)
        return run

    return register


def _local(value: object) -> object:
    """A path as people write it, made a local one; anything else as it is."""
    return local_path(value) if isinstance(value, Path) else value


def invoke(app: App, arguments: list[str]) -> int:
    """Run one command line, print its result, and return the exit code.

    0 done; 1 a bug, with a traceback; 2 bad input, in one line; 3 the gate refused; 130 interrupted. With the
    variable RECSYS_TRACEBACK set, bad input raises, to show where it was found.
    """
    as_json, started = JSON_FLAG in arguments, time.perf_counter()
    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            finished = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except (InputError, OSError) as error:
        if os.environ.get("RECSYS_TRACEBACK"):
            raise
        return _failed(" ".join(str(error).splitlines()), 2, as_json)
    except CycloptsError as error:
        words = " ".join(["recsys", *(error.command_chain or ())])
        return _failed(f"{' '.join(str(error).split())} See `{words} --help`", 2, as_json)
    except KeyboardInterrupt:
        return _failed("interrupted", 130, as_json)
    except Exception as error:
        from .. import __version__

        traceback.print_exc(file=sys.stderr)
        print(BUG.format(version=__version__), file=sys.stderr)
        return _failed(f"{type(error).__name__}: {error}", 1, as_json)
    if not isinstance(finished, Finished):  # --help and --version
        return 0
    try:
        _show(finished, arguments, time.perf_counter() - started, as_json)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough, as in `recsys config | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return finished.outcome.exit_code


def _show(finished: Finished, arguments: list[str], seconds: float, as_json: bool) -> None:
    from .console import is_first_process

    outcome = finished.outcome
    if not is_first_process():
        return
    if as_json:
        stages = {name: round(duration, 3) for name, duration in finished.stages.items()}
        head = {"command": _name(arguments), "seconds": round(seconds, 3), "stages": stages}
        print(json.dumps(head | outcome.model_dump(mode="json"), ensure_ascii=False))
        return
    for line in outcome.lines():
        print(line)
    sys.stdout.flush()
    if outcome.next is not None:
        print(f"next: {outcome.next}", file=sys.stderr)


def _failed(reason: str, exit_code: int, as_json: bool) -> int:
    from .console import is_first_process

    print(f"error: {reason}", file=sys.stderr)
    if as_json and is_first_process():
        print(json.dumps({"error": reason, "exit_code": exit_code}, ensure_ascii=False))
    return exit_code


def _name(arguments: list[str]) -> str:
    """The words that name the command: "run", "import movielens"."""
    words = [word for word in arguments if not word.startswith("-")]
    return " ".join(words[: 2 if words[0] == "import" else 1])
