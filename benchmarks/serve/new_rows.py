"""How long after its row has landed a new item is in an answer of a running service.

python -m benchmarks.serve.new_rows --bundle demo/run/bundle --events demo/events.parquet --table demo/items.parquet
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import polars as pl


def serve(bundle: str, events: Path, table: Path, trials: int, port: int) -> dict[str, object]:
    """Start ``recsys serve --items FOLDER``, put a file with a new item there, and ask until it is an answer."""
    seconds = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "items"
        folder.mkdir()
        items = pl.read_parquet(table)
        items.write_parquet(folder / "0000.parquet")
        command = [
            sys.executable, "-m", "recsys.cli", "serve", bundle, "--events", str(events), "--items", str(folder),
            "--port", str(port), "--cache", str(Path(scratch) / "cache"),
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                wait_until(port, lambda: ask(port, {"history": [items["item_id"][0]], "k": 1}) is not None, 300)
                for trial in range(trials):
                    name = f"zz-new-{trial}"
                    row = items[trial : trial + 1].with_columns(item_id=pl.lit(name))
                    body = {"history": [items["item_id"][trial + 1]], "only": [name], "k": 1}
                    temporary = Path(scratch) / "new.parquet"
                    row.write_parquet(temporary)
                    time.sleep(np.random.default_rng(trial).uniform(0, 5))  # at any moment between two looks
                    started = time.perf_counter()
                    temporary.replace(folder / f"{trial + 1:04}.parquet")
                    wait_until(port, lambda body=body, name=name: ask(port, body) == [name], 120)
                    seconds.append(round(time.perf_counter() - started, 2))
            finally:
                server.terminate()
    return {"trials": trials, "seconds": seconds, "median": statistics.median(seconds), "largest": max(seconds)}


def ask(port: int, body: dict[str, object]) -> list[str] | None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/recommend", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return [item["item_id"] for item in json.load(response)["items"]]
    except OSError:
        return None


def wait_until(port: int, condition, seconds: float) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing on port {port} within {seconds} s")
        time.sleep(0.05)


def main() -> None:
    """Print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="demo/run/bundle")
    parser.add_argument("--events", type=Path, default=Path("demo/events.parquet"))
    parser.add_argument("--table", type=Path, default=Path("demo/items.parquet"))
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--port", type=int, default=8123)
    options = parser.parse_args()
    line = serve(options.bundle, options.events, options.table, options.trials, options.port)
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
