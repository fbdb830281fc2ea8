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
MARKED, SOME = ("-m", "gpu"), ("-m", "gpu", "tests/training/test_device.py")


def gpu_tests() -> Iterator[Job]:
    for arguments in rows.sized([(FUSED_LOSS,), MARKED], [SOME]):
        yield Job("tests", "pytest", run_tests, arguments)


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
