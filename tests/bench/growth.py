"""How it grows: creation, selection, wake-up and memory from a thousand runs to a million."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench import large
from tests.bench.harness import Figures

LEAST = 1000
#: Title, unit and the lines (label and key) of each picture.
PANELS: Sequence[tuple[str, str, Mapping[str, str]]] = (
    (
        "creation",
        "tasks a second",
        {"in one call": "creation", "a call each, in one session": "single creation"},
    ),
    (
        "selection",
        "ms",
        {
            "none": "select none",
            "one by a job value": "select one",
            "a hundred by state and run name": "select a hundred",
        },
    ),
    (
        "wake-up, processor time of a commit",
        "ms",
        {"50 actions": "wake-up", "one action": "wake-up, one action"},
    ),
    (
        "memory",
        "MB",
        {
            "server": "memory of server",
            "orchestrator": "memory of orchestrator",
            "who creates and iterates": "memory of creator",
        },
    ),
    (
        "iterating all",
        "s",
        {"warm": "iterate warm", "cold": "iterate cold"},
    ),
    ("database", "bytes a run", {"created": "bytes created"}),
)


def sizes(most: int) -> list[int]:
    """Powers of ten, and what is between them."""
    found = []
    n_runs = LEAST
    while n_runs <= most:
        found += [n for n in (n_runs, 3 * n_runs) if n <= most]
        n_runs *= 10
    return found


def plot(file: Path, most: int) -> None:
    """Measure, and draw a picture; the figures lie beside it as JSON."""
    measured = {}
    for n_runs in sizes(most):
        measured[n_runs] = large.in_new_process(n_runs, 5, 50)
        print(n_runs, measured[n_runs], flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps(measured, indent=2) + "\n")
    draw(file, measured)


def draw(file: Path, measured: Mapping[int, Figures]) -> None:
    """Draw what was measured, by the number of runs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 2, figsize=(9, 9), sharex=True, layout="constrained")
    for axis, (title, unit, lines) in zip(axes.flat, PANELS, strict=True):
        for label, key in lines.items():
            axis.plot(list(measured), [f[key] for f in measured.values()], "o-", label=label)
        axis.set(title=title, ylabel=unit, xscale="log", yscale="log")
        axis.grid(visible=True, alpha=0.3)
        axis.legend(fontsize="small")
    for axis in axes[-1]:
        axis.set_xlabel("runs in the study")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
