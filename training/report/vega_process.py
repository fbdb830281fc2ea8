"""The process that turns Vega-Lite charts into SVG: a file of its own, which imports nothing of ours and starts fast.

It reads one JSON object a line, {"version": ..., "chart": ...}, and answers each with one: {"svg": ...} or
{"error": ...}. It ends when its input does, so it never outlives its parent.
"""

import json
import os
import resource
import sys


def main() -> None:
    """Draw until the input ends."""
    import vl_convert

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected: it leaves no dump
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the library prints is no answer
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"svg": vl_convert.vegalite_to_svg(request["chart"], vl_version=request["version"])}
        except Exception as error:
            answer = {"error": str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
