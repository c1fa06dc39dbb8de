"""``python -m tests.bench [--tiny] [--json FILE] [NAME ...]``: measure and print a table."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from tests.bench import measures
from tests.bench.measures import Figures

FULL: dict[str, tuple[int, Callable[[], Figures]]] = {
    "chain": (3, partial(measures.chain, 20)),
    "fan_out": (3, partial(measures.fan_out, 500)),
    "creation": (3, partial(measures.creation, 10_000)),
    "finish_to_action": (1, partial(measures.finish_to_action, 50)),
    "idle": (1, partial(measures.idle, 10)),
}
TINY: dict[str, tuple[int, Callable[[], Figures]]] = {
    "chain": (1, partial(measures.chain, 2)),
    "fan_out": (1, partial(measures.fan_out, 4)),
    "creation": (1, partial(measures.creation, 20)),
    "finish_to_action": (1, partial(measures.finish_to_action, 2)),
    "idle": (1, partial(measures.idle, 2, n_runs=5, seconds=0.2)),
}


def measured(plan: dict[str, tuple[int, Callable[[], Figures]]]) -> dict[str, list[float]]:
    """All figures of a plan, each as often as the plan says."""
    found: dict[str, list[float]] = {}
    for n_times, measure in plan.values():
        for _ in range(n_times):
            for name, value in measure().items():
                found.setdefault(name, []).append(value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*FULL, []], metavar="NAME")
    parser.add_argument("--tiny", action="store_true", help="only see that everything works")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    plan = TINY if arguments.tiny else FULL
    found = measured({n: plan[n] for n in arguments.names or plan})
    width = max(map(len, found))
    print(f"{'':{width}}  {'median':>10}  {'min':>10}  {'max':>10}  times")
    for name, values in found.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:{width}}  {middle:10.2f}  {low:10.2f}  {high:10.2f}  {len(values)}")
    if arguments.json:
        facts = {
            "machine": platform.machine(),
            "cores": measures.cores(),
            "python": platform.python_version(),
            "versions": {n: version(n) for n in ("ZODB", "ZEO", "BTrees", "anyio")},
            "time": time.strftime("%Y-%m-%d %H:%M"),
            "figures": found,
        }
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
