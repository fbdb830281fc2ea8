"""How often the gate errs, by simulation: false promotions of equal models, and the power to see a true gain.

    python benchmarks/gate_power.py --pairs 1000 --queries 500 2000 6000

Every pair is judged by the statistical demands of `recsys promote` with its default settings: the paired interval above
zero, and the floors on eight slices of 5% to 50% of the queries. Prints rates with 95% Wilson intervals.
"""

import argparse
import math

import numpy as np

from recsys.config import GateConfig
from recsys.synthetic import paired_scores
from training.promotion import SliceScores, ahead, floors

SLICES = (0.05, 0.1, 0.2, 0.2, 0.33, 0.33, 0.5, 0.5)


def judge(rng: np.random.Generator, num_queries: int, gain: float) -> tuple[bool, bool, float]:
    """Whether the pair's first model is ahead and whether no slice refuses it, and the second model's mean."""
    settings = GateConfig()
    ours, theirs = paired_scores(rng, num_queries, gain=gain)
    chosen = [rng.random(num_queries) < share for share in SLICES]
    slices = [SliceScores(str(place), ours[rows], theirs[rows]) for place, rows in enumerate(chosen)]
    floor = all(check.passed for check in floors(slices, settings))
    return ahead("", ours, theirs, gain=settings.required_gain).passed, floor, float(theirs.mean())


def wilson(count: int, total: int) -> str:
    """A share with its 95% interval (Wilson 1927)."""
    z, share = 1.96, count / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return f"{share:6.1%} [{centre - half:.1%}, {centre + half:.1%}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--queries", type=int, nargs="+", default=[500, 2000, 6000])
    parser.add_argument("--gains", type=float, nargs="+", default=[0.0, 0.003, 0.006, 0.012])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{arguments.pairs} pairs each, seed {arguments.seed}; the nominal rate of false promotions is 2.5%")
    for num_queries in arguments.queries:
        for gain in arguments.gains:
            rng = np.random.default_rng((arguments.seed, num_queries, round(gain * 1e6)))
            found = [judge(rng, num_queries, gain) for _ in range(arguments.pairs)]
            level, title = np.mean([each[2] for each in found]), f"{num_queries:6,} queries, true gain {gain:.4f}"
            promoted, refused = sum(a and b for a, b, _ in found), sum(not b for _, b, _ in found)
            shares = (wilson(count, arguments.pairs) for count in (promoted, refused))
            told = f"({gain / level:5.1%} of {level:.3f}): promoted {next(shares)}, refused by a slice {next(shares)}"
            print(title, told, flush=True)


if __name__ == "__main__":
    main()
