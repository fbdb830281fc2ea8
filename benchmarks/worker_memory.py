"""The private memory of each of several processes that serve one bundle, read or mapped.

Private is what a process does not share with the others (USS: Private_Clean and Private_Dirty of
/proc/self/smaps_rollup), before the bundle is loaded and after it has answered one user and a batch.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ASK = 8  # users of a batch


def serve(bundle: Path, *, mapped: bool) -> None:
    """One process: load, answer, then tell its private memory as often as it is asked."""
    from recsys.bundle import load_bundle
    from recsys.retriever import Retriever

    before = private_mib()
    retriever = Retriever(*load_bundle(bundle, mapped=mapped))
    ids = retriever.bundle.encoder.item_ids.head(20).to_list()
    retriever.recommend([ids], k=100)
    retriever.recommend([ids] * ASK, k=100)
    for _ in sys.stdin:
        sys.stdout.write(json.dumps({"before": before, "after": private_mib()}) + "\n")
        sys.stdout.flush()


def private_mib() -> float:
    """Memory that only this process holds."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def measure(bundle: Path, workers: int, *, mapped: bool) -> list[dict[str, float]]:
    """What each worker tells once all of them have answered."""
    command = [sys.executable, "-m", "benchmarks.worker_memory", "--serve", str(bundle), *["--mapped"] * mapped]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(workers)
    ]

    def told(process: "subprocess.Popen[str]") -> dict[str, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        answer: dict[str, float] = json.loads(process.stdout.readline())
        return answer

    for process in processes:
        told(process)
    answers = [told(process) for process in processes]
    for process in processes:
        process.communicate()
    return answers


def main() -> None:
    """Print a line for each number of items, read and mapped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kind", default="exact", help="of index")
    parser.add_argument("--serve", type=Path, help="internal: be a worker")
    parser.add_argument("--mapped", action="store_true", help="internal: of a worker")
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, mapped=options.mapped)
        return
    from benchmarks.speed.query import world
    from recsys.bundle import save_bundle
    from recsys.search import ItemIndex

    for num_items in options.items:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bundle"
            bundle = world(num_items, num_members=1)[0]
            save_bundle(replace(bundle, index=ItemIndex.build(bundle.item_vectors, kind=options.kind)), path)
            size = (path / "vectors.npy").stat().st_size / 2**20
            for mapped in (False, True):
                told = [answer["after"] - answer["before"] for answer in measure(path, options.workers, mapped=mapped)]
                name = f"{options.kind}, {'mapped' if mapped else 'read'}"
                sys.stdout.write(f"{num_items} items, {size:.0f} MiB of vectors, {name}: ")
                sys.stdout.write(", ".join(f"{mib:.0f}" for mib in told) + " MiB private to each worker\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
