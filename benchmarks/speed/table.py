"""RESULTS.md: a table for each row, beside what limits it."""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Line = Mapping[str, Any]  # a line of results.jsonl
Rates = dict[tuple[str, str], float]  # by machine and ceiling
REACHED = 0.99  # of the peer's own best validation score
WITH, HOW = ("ours", "peers"), ("machine", "commit", "command", "threads")  # of a setting
TEXTS = {
    "ceilings": "What the machine can do at best: a float32 matrix product of two tiles, and a copy of 1 GiB, read and "
    "written. Shares below are of the best of all contestants and rounds.",
    "batches": "One epoch without a model; the same real tokens for all. Drawing negatives and indexing limit it.",
    "training": "Forward, backward and optimiser over the same number of real tokens; ratios are of seconds a token. "
    "Matrix products of the blocks and of the loss, and the element-wise work between them, limit it.",
    "feature job": "Raw log to training histories, targets and id maps on disk; ours also checks, quarantines, keeps "
    "the whole histories of both queries and flushes to disk. Fresh memory limits it as much as work does: a code for "
    "each id, one sort, and moving the columns. Share: 36 bytes an event, ids and time in and three lists out, of the "
    "copy. From 25M events on RecTools is left out, at 100M all but DuckDB: they take many minutes.",
    "evaluation": "Recall, NDCG and MRR at three cut-offs, lists and targets in memory. Looking up 100 answers a user "
    "among the targets limits it.",
    "batch scoring": "Vectors in memory to the exact top 100, seen items left out. The matrix product of all users and "
    "items limits it, then comparing each score with what the last of the 100 may need. Share: its arithmetic, of the "
    "best float32 tile's; ours may pass 100% where the CPU has a matrix unit for bfloat16 (exact_batch.py).",
    "one query": "History in, top 100 out, 500 queries in turn. The tower limits it for few items (ours computes in "
    "float64, so that an answer does not depend on who else is asked), reading all item vectors for many (ours as "
    "bytes where the CPU multiplies them, exact_request.py). Share: of float32, of the copy; ours, and vectors that "
    "fit the cache, may pass 100%.",
    "growth": "Ours alone. Slope: least squares of log seconds over log size, of sizes no less than a hundredth of the "
    "largest; 1 is linear. "
    "Catalogues are searched exactly up to 500,000 items and by IVF beyond; HNSW, N log N by nature, is on request.",
    "whole job": "Events on disk to a trained model and the top 100 of every user on disk, imports counted. Training "
    "limits it. NDCG@10 is of the test events, from these lists. RecTools has batches of 32 users instead of its 128, "
    "which learn in far fewer epochs, its own learning rate, and ends after 125 minutes at the latest; our recipe was "
    "chosen on the validation events of these data sets, too.",
    "time to quality": "From the same runs: when the validation NDCG@10 first reached RecTools's best less 1%.",
}


def latest(lines: Iterable[Line]) -> list[Line]:
    """A line for each work, of the latest result of each contestant, ours first; each result has its own setting."""
    works: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        work = works.setdefault((line["row"], line["work"]), {**line, "results": {}})
        work["results"] |= {one["label"]: {"setting": line["setting"]} | one for one in line["results"]}
    return [{**work, "results": sorted(work["results"].values(), key=is_peer)} for work in works.values()]


def page(lines: list[Line]) -> str:
    """All of RESULTS.md."""
    rows: dict[str, list[Line]] = {}
    for line in [*lines, *times_to_quality(lines)]:
        rows.setdefault(line["row"], []).append(line)
    best = rates(lines)
    return "\n".join(
        [*head(lines), *headline(rows, best), *(part(row, rows[row], best) for row in TEXTS if row in rows)]
    )


def head(lines: list[Line]) -> list[str]:
    return [
        "# Speed beside peers\n",
        "Medians (lowest to highest) of fresh processes that took turns; answers that can be compared agreed before a "
        "time was taken (not those of trainings, nor RecTools's sequences). "
        "All seeds are 0. Peak memory is the whole process. Each row tells where and how it was measured.\n",
        *settings(lines, WITH),
        "\n![ratios](RESULTS.svg)\n",
    ]


def headline(rows: Mapping[str, list[Line]], best: Rates) -> list[str]:
    """Ours beside the fastest other contestant of every work."""
    parts = [
        "## Ours beside the fastest of the others\n",
        "| row | work | ours | fastest other | ratio | share of ceiling |",
    ]
    parts.append("|---|---|---|---|---|---|")
    for row in TEXTS:
        for line in rows.get(row, []) if row not in ("ceilings", "growth") else []:
            if not all(sides(line)):
                continue
            ours, other = map(fastest, sides(line))
            cells = row, line["work"], time_of(ours), f"{other['label']} {time_of(other)}"
            parts.append(f"| {' | '.join(cells)} | {times(other, ours)} | {share(line, ours, best)} |")
    return [*parts, ""]


def part(row: str, lines: list[Line], best: Rates) -> str:
    """The table of one row."""
    parts = [f"## {row}\n\n{TEXTS[row]}\n", *settings(lines, HOW), ""]
    first = "slope" if row == "growth" else "ours is faster by"
    parts.append(
        f"| work | contestant | seconds | {first} | share of ceiling | peak MiB | |\n|---|---|---|---|---|---|---|"
    )
    for line in lines:
        results = line["results"]
        for place, result in enumerate(results):
            ratio = times(result, results[0]) if row != "ceilings" else ""
            if row == "growth":
                ratio = f"{slope(results):.2f}" if 0 < place == len(results) - 1 else ""
            told = ", ".join(f"{key} {number(value)}" for key, value in figures(result).items())
            peak = f"{max(result['peak_mib']):,.0f}" if result["peak_mib"] else ""
            cells = line["work"], result["label"], spread(result), ratio, share(line, result, best), peak, told
            parts.append(f"| {' | '.join(cells)} |")
    return "\n".join([*parts, ""])


def settings(lines: list[Line], keys: Iterable[str]) -> list[str]:
    """What was told of where and how; more than one thing where the lines are of several runs."""
    found = [result["setting"] for line in lines for result in line["results"]]
    told = {key: list(dict.fromkeys(setting[key] for setting in found if setting[key])) for key in keys}
    return [f"- {key}: {'; '.join(values)}" for key, values in told.items() if values]


def times_to_quality(lines: Iterable[Line]) -> list[Line]:
    """Lines made of those of whole jobs, whose answers hold the seconds and score of every epoch."""
    made: list[Line] = []
    for line in lines:
        if line["row"] == "whole job" and (peers := sides(line)[1]):
            target = REACHED * max(best_score(answer) for peer in peers for answer in peer["answers"])
            results = [
                {**one, "peak_mib": [], "seconds": [first(answer, target) for answer in one["answers"]],
                 "answers": [{"figures": {"target": target, "best": best_score(answer)}} for answer in one["answers"]]}
                for one in line["results"]
            ]  # fmt: skip
            made.append({**line, "row": "time to quality", "results": results})
    return made


def first(answer: Mapping[str, Any], target: float) -> float:
    """The seconds after which the score was ``target``, or infinity."""
    reached = [float(seconds) for seconds, score in answer["figures"]["curve"] if score >= target]
    return min(reached, default=math.inf)


def best_score(answer: Mapping[str, Any]) -> float:
    return float(max(score for _, score in answer["figures"]["curve"]))


def rates(lines: Iterable[Line]) -> Rates:
    """The ceilings of each machine, in G a second: the best of all contestants and rounds."""
    best: Rates = {}
    for line in lines:
        for one in line["results"] if line["row"] == "ceilings" else ():
            found = [value for answer in one["answers"] for key, value in answer["figures"].items() if key[-2:] == "/s"]
            key = one["setting"]["machine"], line["work"]
            best[key] = max(best.get(key, 0.0), *found)
    return best


def slope(results: list[Mapping[str, Any]]) -> float:
    """Least squares of log seconds over log size, where work and not starting is what takes the time."""
    largest = max(figures(one)["size"] for one in results)
    points = [(figures(one)["size"], median(one)) for one in results if figures(one)["size"] >= largest / 100]
    return float(np.polyfit(*np.log(points).T, 1)[0])


def figures(result: Mapping[str, Any]) -> dict[str, float]:
    """Medians of the numbers that the answers tell beside."""
    told = [answer.get("figures", {}) for answer in result["answers"]]
    return {
        key: statistics.median(one[key] for one in told)
        for key, value in told[0].items() if isinstance(value, int | float)
    }  # fmt: skip


def median(result: Mapping[str, Any]) -> float:
    return float(statistics.median(result["seconds"]))


def pace(result: Mapping[str, Any]) -> float:
    """Seconds, or seconds a token where contestants differ a little in tokens."""
    return median(result) / figures(result).get("tokens", 1.0)


def fastest(results: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    return min(results, key=pace)


def sides(line: Line) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Our results and the others'."""
    ours = [one for one in line["results"] if not is_peer(one)]
    return ours, line["results"][len(ours) :]


def is_peer(result: Mapping[str, Any]) -> bool:
    return not result["label"].startswith("ours")


def times(result: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    ratio = pace(result) / pace(ours)
    return f"{ratio:.2f}x" if 0 < ratio < math.inf else "never"


def share(line: Line, result: Mapping[str, Any], best: Rates) -> str:
    """How much of its ceiling on the same machine a result used."""
    name, amount = line["limit"] or ("", 0.0)
    rate = best.get((result["setting"]["machine"], name))
    return f"{100 * amount / median(result) / rate:.3g}%" if rate else ""


def time_of(result: Mapping[str, Any]) -> str:
    return f"{number(median(result))} s" if math.isfinite(median(result)) else "never"


def spread(result: Mapping[str, Any]) -> str:
    return f"{number(median(result))} ({number(min(result['seconds']))} to {number(max(result['seconds']))})"


def number(value: float) -> str:
    return f"{value:,.0f}" if 1_000 <= abs(value) < math.inf else f"{value:.3g}"
