"""The fused loss without a GPU: fused_cases.py in a process of its own, for Triton has an interpreter or a compiler."""

import os
import re
import subprocess
import sys
from pathlib import Path

CASES = Path(__file__).with_name("fused_cases.py")


def run_cases(**environment):
    """Run them, where a skip is a failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_cases_in_the_interpreter():
    output = run_cases(TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")
    assert re.search(r"^\d+ passed in ", output, re.MULTILINE), output
