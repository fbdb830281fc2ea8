"""Ask a service hostile questions: whatever comes, it answers, and never with a fault of its own.

    python benchmarks/fuzz_service.py --bundle demo/run/bundle --events demo/events.parquet --requests 100000 --seed 0

A server of its own is started on this machine. Half of the requests change the examples of its description at random,
by value and by byte; the others are made by schemathesis from the description (valid ones, and ones that are wrong in
one respect) and by hand. Prints the answers by kind of request and status. Any status from 500 up but 503, and any
answer that is none, is a failure: its request is printed, and the exit code is 1.
"""

import argparse
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

JSON = {"content-type": "application/json"}
VALUES = [
    None, True, False, 0, -1, 1, 10**9, 2**31, 2**63, 2**64, 10**30, -(2**63), 0.5, 1e308, -0.0, "", " ", "\0", "é",
    "💥", "i00007", "u00042", "nothing", "x" * 3000, "' OR 1=1", "^.*$", "year", "title", "item_id", "genre", "nan",
    "NaN", [], [[]], {}, {"": ""}, ["year", ">=", 1950], [["year", ">=", 1950]], [["tags", "contains", "sea"]],
    [["year", "in", [1950, "x", None]]], {"and": []}, {"or": [["year", "<", 2000], {"not": ["title", "==", "x"]}]},
    {"not": {"not": []}}, ["i00007"] * 500, [1, "i00007", None], {"age": 34}, {"age": "x"}, {"age": [1, 2]},
    {"genre": 2}, {"year": 0}, [0.1, True], [["year", ">=", 10**30]], [["year", "~", 1]],
    [["title", "contains", "("]], [[["year"]]],
]  # fmt: skip
MEMBERS = [
    "user_id", "history", "recent", "user", "k", "exclude_seen", "exclude", "only", "where", "per", "diversity",
    "columns", "requests", "item_id", "text", "item_ids", "dataframe_records", "dataframe_split", "params", "data",
    "index", "x", "",
]  # fmt: skip
RAW = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"NaN",
    b'{"history": [NaN]}',
    b'{"history": [Infinity], "k": -Infinity}',
    b'{"k": 1e999}',
    b'{"history": ["\xff\xfe"]}',
    b'{"history": ["\\ud800"]}',
    b"[" * 100_000,
    b'{"where":' * 5_000,
    b'{"a":' * 190 + b"1" + b"}" * 190,
    b'{"where": ' + b"[" * 150 + b"]" * 150 + b', "history": []}',
    b"\xef\xbb\xbf{}",
    b'{"history": [], "history": 1}',
    b'{"exclude": [' + b"1," * 999_999 + b'1], "history": []}',
    b'{"history": ["i00007"], "exclude": [' + b'"i1",' * 9_999 + b'"i2"]}',
    b'{"history": [], "k": ' + b"9" * 5_000 + b"}",
    b'{"history": [' + b'"i00007",' * 9_999 + b'"i00007"]}',
    b"\0" * 1000,
    b'{"requests": [' + b'{"history": []},' * 255 + b'{"history": ["i00007"], "k": 1000}]}',
]


@dataclass
class Result:
    """statuses: by kind of request and status. failures: what was asked."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, kind: str, status: int, asked: object) -> None:
        """Count an answer; 0 is none."""
        self.statuses[kind, status] += 1
        if (status >= 500 and status != 503) or (status == 0 and kind != "cut off"):
            self.failures.append(f"{kind} {status}: {str(asked)[:600]}")


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--events")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=840, help="stop after this time")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


@contextmanager
def serving(bundle: str, events: str | None) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    """A server on a free port; its process, and its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "recsys.cli", "serve", bundle, "--port", str(port), "--cache", folder]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command + (["--events", events] if events else []), stderr=output)
        try:
            while True:
                try:
                    ask(port, "GET", "/health/live", {}, b"")
                    break
                except OSError:
                    if process.poll() is not None:
                        raise SystemExit(log.read_text()) from None
                    time.sleep(0.1)
            yield port, process, log
        finally:
            process.terminate()
            process.wait(60)


connections: dict[int, http.client.HTTPConnection] = {}


def ask(port: int, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    """Status and body of an answer, over a connection that is kept."""
    connection = connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=60))
    for attempt in (0, 1):  # the server may have closed the connection after the request before
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            if attempt:
                raise
    raise AssertionError


def changed(value: object, rng: random.Random) -> object:
    """A JSON value with something else in one place."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.2:
        return rng.choice(VALUES)
    if isinstance(value, list):
        row = rng.randrange(len(value))
        return [*value[:row], changed(value[row], rng), *value[row + rng.randint(0, 1) :]]
    name = rng.choice(MEMBERS) if rng.random() < 0.2 else rng.choice([*value])
    return {**value, name: changed(value.get(name), rng)}


def changed_bytes(body: bytes, rng: random.Random) -> bytes:
    """Bytes with a few of them replaced, cut or repeated."""
    made = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made) + 1)
        match rng.randrange(4):
            case 0:
                made[at:at] = rng.randbytes(rng.randint(1, 4))
            case 1:
                del made[at : at + rng.randint(1, 8)]
            case 2:
                made[at:at] = made[: rng.randint(0, 40)] * rng.randint(1, 3)
            case 3:
                made[at : at + 1] = rng.choice(
                    [b'"', b"{", b"[", b"]", b"}", b",", b":", b"\\", b"-", b"9", b"\xff", b"\0"]
                )
    return bytes(made)


def fuzz_examples(port: int, description: dict, result: Result, count: int, until: float, rng: random.Random) -> None:
    """Change the examples of the description."""
    examples = [
        (method.upper(), path, described["requestBody"]["content"]["application/json"]["example"])
        for path, methods in description["paths"].items() for method, described in methods.items()
        if "requestBody" in described
    ]  # fmt: skip
    for _ in range(count):
        if time.monotonic() > until:
            return
        method, path, example = rng.choice(examples)
        kind = "changed values"
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            example = changed(example, rng)
        body = json.dumps(example).encode()
        if rng.random() < 0.3:
            kind, body = "changed bytes", changed_bytes(body, rng)
        if rng.random() < 0.02:
            kind, method = "changed paths", rng.choice(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS"])
            path += rng.choice(["", "/", "//", "?k=1", "%00", "/..%2f", "%ff"])
        try:
            status, _ = ask(port, method, path, JSON, body)
        except (OSError, http.client.HTTPException) as error:
            status = 0
            body = f"{error!r} ".encode() + body
        result.add(kind, status, (method, path, body))


def fuzz_by_hand(port: int, result: Result, times: int) -> None:
    """The known kinds of hostile bodies, at every path; and connections that break off."""
    huge = b"0" * 100_000_000
    for number in range(times):
        for path in ("/v1/recommend", "/v1/similar", "/v1/search", "/v1/explain", "/invocations"):
            for body in [*RAW, *([huge] if number == 0 else [])]:
                try:
                    status, _ = ask(port, "POST", path, JSON, body)
                except (OSError, http.client.HTTPException):
                    status = 0
                result.add("by hand", status, (path, body[:100]))
            with socket.create_connection(("127.0.0.1", port), timeout=10) as gone:
                gone.sendall(
                    f"POST {path} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{{".encode()
                )
            result.add("cut off", 0, path)


def fuzz_by_schema(port: int, description: dict, result: Result, count: int, until: float, seed: int) -> None:
    """What schemathesis makes of the description."""
    import schemathesis
    from schemathesis import GenerationMode

    schema = schemathesis.openapi.from_dict(description)
    operations = [one.ok() for one in schema.get_all_operations()]
    kinds = {GenerationMode.POSITIVE: "valid by schema", GenerationMode.NEGATIVE: "invalid by schema"}
    share = max(1, count // (len(kinds) * len(operations)))
    for number, operation in enumerate(operations):
        for mode, kind in kinds.items():
            if operation.body or mode == GenerationMode.POSITIVE:
                cases = operation.as_strategy(generation_mode=mode)
                send_cases(port, cases, result, kind, share, until, seed * 1000 + number)


def send_cases(port: int, cases: object, result: Result, kind: str, count: int, until: float, seed: int) -> None:
    """Send cases of schemathesis."""
    import hypothesis

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case=cases)
    def send(case: object) -> None:
        if time.monotonic() < until:
            response = case.call(base_url=f"http://127.0.0.1:{port}", timeout=60)
            result.add(kind, response.status_code, (case.method, case.path, case.body))

    send()


def main() -> int:
    arguments = parsed_arguments()
    result, began = Result(), time.monotonic()
    until = began + arguments.seconds
    with serving(arguments.bundle, arguments.events) as (port, process, log):
        description = json.loads(ask(port, "GET", "/openapi.json", {}, b"")[1])
        fuzz_by_hand(port, result, max(1, arguments.requests // 20_000))
        by_schema = arguments.requests // 10
        fuzz_by_schema(port, description, result, by_schema, time.monotonic() + arguments.seconds / 4, arguments.seed)
        rest = arguments.requests - result.statuses.total()
        fuzz_examples(port, description, result, rest, until, random.Random(arguments.seed))
        answers = ask(port, "POST", "/v1/recommend", JSON, b'{"history": ["i00007"], "k": 3}')[0]
        memory = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in line]
        bugs = log.read_text(errors="replace")
    for (kind, status), count in sorted(result.statuses.items()):
        print(f"{kind:20} {status or 'no answer':>9} {count:>8,}")
    print(f"seed {arguments.seed}: {result.statuses.total():,} requests in {time.monotonic() - began:.0f} s, "
          f"{len(result.failures)} failures; answers afterwards: {answers}; {' '.join(memory[0].split())}; "
          f"{os.cpu_count()} processors")  # fmt: skip
    print(*result.failures[:40], sep="\n")
    print(bugs[-8000:])
    return 1 if result.failures or answers != 200 else 0


if __name__ == "__main__":
    sys.exit(main())
