"""``python -m tests.bench [OPTIONS] [NAME ...]``: measure, and print one table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from tests.bench import batch_jobs, batches, commands, large, latency, recording, table
from tests.bench.harness import Figures
from tests.bench.peers import REQUIREMENTS, NotThere, Peers

#: What a measurement gives: figures once, or as often as it was repeated.
Measurement = Callable[[Peers], Figures | list[Figures]]

LARGE = "million"
#: Needs root, and Slurm.
JOBS = "jobs"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "motoko-bench"
OLD_SIZES = {"chain": 3, "fan_out": 15, "creation": 1000, "single": 100}


def _repeated(n_times: int, measure: Callable[[], Figures]) -> list[Figures]:
    return [measure() for _ in range(n_times)]


def _million(n_runs: int) -> Figures:
    found = {**large.in_new_process(n_runs, 3, 20), **recording.in_new_process(n_runs)}
    return {f"million: {key}": value for key, value in found.items()}


def _old_motoko(peers: Peers) -> Figures:
    found = peers.old_motoko(OLD_SIZES)
    return {f"{key} of {table.OLD}": value for key, value in found.items()}


FULL: dict[str, Measurement] = {
    "latency": lambda peers: latency.finish_to_action(200),
    "chain": lambda peers: latency.chains(20, 3, peers),
    "fan_out": lambda peers: latency.fan_outs(1000, 3, peers),
    "large": lambda peers: _repeated(3, lambda: large.in_new_process(100_000)),
    "info": lambda peers: commands.info(100_000, 9),
    "quickstart": lambda peers: _repeated(5, commands.quickstart),
    "old": _old_motoko,
    "idle": lambda peers: commands.idle(10, 1000, 60.0),
    "batch": lambda peers: _repeated(5, lambda: batches.overhead(1000)),
    JOBS: lambda peers: batch_jobs.measure(200, 3),
    LARGE: lambda peers: _million(1_000_000),
}
TINY: dict[str, Measurement] = {
    "latency": lambda peers: latency.finish_to_action(2),
    "chain": lambda peers: latency.chains(2, 1, peers),
    "fan_out": lambda peers: latency.fan_outs(4, 1, peers),
    "large": lambda peers: large.measure(20, 1, 2),
    "info": lambda peers: commands.info(6, 1),
    "quickstart": lambda peers: commands.quickstart(),
    "old": _old_motoko,
    "idle": lambda peers: commands.idle(2, 5, 0.1),
    "batch": lambda peers: batches.overhead(20),
    JOBS: lambda peers: batch_jobs.measure(5, 1),
    LARGE: lambda peers: {f"million: {k}": v for k, v in recording.measure(20, 1).items()},
}


def measured(names: Iterable[str], plan: dict[str, Measurement], peers: Peers) -> table.Samples:
    """All figures of these measurements, each as often as it was taken."""
    found: table.Samples = {}
    for name in names:
        began = time.monotonic()
        try:
            figures = plan[name](peers)
        except NotThere as error:
            print(f"{name}: not there: {error}", file=sys.stderr)
            continue
        except KeyboardInterrupt:
            print(f"{name}: interrupted; what was measured before it follows", file=sys.stderr)
            break
        for one in [figures] if isinstance(figures, dict) else figures:
            for key, value in one.items():
                found.setdefault(key, []).append(value)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def facts() -> dict[str, object]:
    """What the figures depend on."""
    names = ("motoko", "ZODB", "ZEO", "BTrees", "persistent", "anyio")
    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        "peers": REQUIREMENTS,
        "time": time.strftime("%Y-%m-%d %H:%M"),
    }


def forget_interpreter_options() -> None:
    """Let no variable make interpreters slower, or faster, than those of users.

    PYTHONDONTWRITEBYTECODE would make each process compile what it imports.
    """
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        del os.environ[name]
    sys.dont_write_bytecode = False


def main() -> None:
    forget_interpreter_options()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*FULL, []], metavar="NAME")
    parser.add_argument("--tiny", action="store_true", help="only see that everything works")
    parser.add_argument(
        "--large", action="store_true", help="also what takes many minutes: a million runs"
    )
    parser.add_argument(
        "--growth", type=Path, metavar="FILE", help="measure growth, and plot it to this PNG"
    )
    parser.add_argument("--most", type=int, default=1_000_000, help="how far growth is plotted")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument(
        "--peers",
        type=Path,
        default=CACHE,
        help=f"environments of the peers (default: {CACHE})",
    )
    parser.add_argument("--no-install", action="store_true", help="only peers that are there")
    options = parser.parse_args()
    if options.growth:
        from tests.bench import growth

        if options.tiny:
            growth.plot(options.growth, [5, 10], growth.measure_here)
        else:
            growth.plot(options.growth, growth.sizes(options.most))
        return
    plan = TINY if options.tiny else FULL
    peers = Peers(options.peers, may_install=not (options.tiny or options.no_install))
    names = options.names or [n for n in plan if options.large or options.tiny or n != LARGE]
    stated = facts()
    samples = measured(names, plan, peers)
    found = table.lines(samples)
    print(table.text(found))
    for name, why in peers.missing.items():
        print(f"{name}: not there ({why})")
    if options.json:
        missing = dict(peers.missing)
        result = {**stated, "missing": missing, "rows": table.plain(found), "samples": samples}
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
