import json
import subprocess
import sys

from training.report import vega_process


def test_it_answers_line_by_line_and_ends_with_its_input():
    chart = {"mark": "bar", "data": {"values": [{"x": 1}]}, "encoding": {"x": {"field": "x", "type": "quantitative"}}}
    requests = [{"version": "6_1", "chart": chart}, {"version": "none", "chart": chart}]
    finished = subprocess.run(
        [sys.executable, "-P", vega_process.__file__], text=True, capture_output=True, timeout=60, check=True,
        input="".join(json.dumps(request) + "\n" for request in requests),
    )  # fmt: skip
    good, bad = map(json.loads, finished.stdout.splitlines())
    assert good["svg"].startswith("<svg")
    assert "none" in bad["error"]
