"""What the import of ``Retriever`` costs beside ``import torch``: CPU seconds and peak memory of fresh processes."""

import statistics
import subprocess
import sys

ROUNDS = 7
SCRIPT = """
import resource
{}
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


def cost(statement: str) -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(statement)], capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def main() -> None:
    statements = "import torch", "from recsys.retriever import Retriever", "import recsys"
    rounds = [[cost(statement) for statement in statements] for _ in range(ROUNDS)]
    torch_cost, *_ = medians = [
        tuple(map(statistics.median, zip(*costs, strict=True))) for costs in zip(*rounds, strict=True)
    ]
    for statement, (seconds, megabytes) in zip(statements, medians, strict=True):
        ratios = seconds / torch_cost[0], megabytes / torch_cost[1]
        print(f"{statement:24}  {seconds:.3f} s  {megabytes:.0f} MB  {ratios[0]:.2f} and {ratios[1]:.2f} times torch's")


if __name__ == "__main__":
    main()
