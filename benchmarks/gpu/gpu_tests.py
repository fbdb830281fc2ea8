"""The tests that need a GPU, a row for each as it ends."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.gpu import rows
from benchmarks.gpu.rows import ROOT, Job, Row, Send

ENDED = re.compile(r"^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)(?: \((.*)\))?")
FUSED_LOSS = "tests/training/loss/fused_cases.py"  # which otherwise runs in Triton's interpreter
ONE_FILE = "tests/training/test_device.py"
MARKED = ("-m", "gpu", "--continue-on-collection-errors")


def gpu_tests() -> Iterator[Job]:
    if not rows.SMALL:
        yield Job("tests", "pytest", run_tests, (FUSED_LOSS,))
    yield Job("tests", "pytest", run_tests, (*MARKED, *rows.sized(marked_files(), [ONE_FILE])))


def marked_files() -> list[str]:
    """Those with tests that are marked: others may import what is not installed."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in paths if "@pytest.mark.gpu" in path.read_text(encoding="utf-8")]


def run_tests(send: Send, *arguments: str) -> None:
    """Without a GPU the marked ones skip themselves, and their rows say so."""
    command = [sys.executable, "-m", "pytest", "-v", "--color=no", "-p", "no:cacheprovider"]
    variables = os.environ | {"COLUMNS": "250"}
    with subprocess.Popen(
        [*command, *arguments], cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            ended = ENDED.match(line)
            if ended:
                test, result, reason = ended.groups()
                key = {"PASSED": "result", "SKIPPED": "not run"}.get(result, "failed")
                send(Row("tests", test, "pytest", {key: reason or result.lower()}))
    if process.returncode:
        send(Row("tests", "all of them", "pytest", {"failed": f"exit code {process.returncode}"}))
