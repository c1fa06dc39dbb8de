"""How it grows: creation, recording, selection, wake-up and memory by the number of runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tests.bench import large, recording
from tests.bench.harness import Figures

LEAST = 1000
#: Title, unit and the lines (label and key) of each picture.
PANELS: Sequence[tuple[str, str, Mapping[str, str]]] = (
    (
        "creation and recording",
        "runs a second",
        {
            "created in one call": "creation",
            "a call each, in one session": "single creation",
            "completed by the launcher": "ended: recorded",
        },
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
            "server": "ended: memory of server",
            "launcher": "ended: memory of launcher",
            "orchestrator": "ended: memory of orchestrator",
            "who creates and iterates": "memory of creator",
        },
    ),
    (
        "iterating all",
        "s",
        {"warm": "iterate warm", "cold": "iterate cold"},
    ),
    (
        "database",
        "bytes a run",
        {"created": "bytes created", "claimed and completed": "ended: bytes recorded"},
    ),
)


def sizes(most: int) -> list[int]:
    """Powers of ten, and what is between them."""
    found = []
    n_runs = LEAST
    while n_runs <= most:
        found += [n for n in (n_runs, 3 * n_runs) if n <= most]
        n_runs *= 10
    return found


def measure(n_runs: int) -> Figures:
    """All that is drawn of so many runs; that they came to their end is measured apart."""
    found = large.in_new_process(n_runs, 5, 50)
    return found | {f"ended: {k}": v for k, v in recording.in_new_process(n_runs).items()}


def measure_here(n_runs: int) -> Figures:
    """The same for few runs, in this process."""
    found = large.measure(n_runs, 1, 2)
    return found | {f"ended: {k}": v for k, v in recording.measure(n_runs, 1).items()}


def plot(
    file: Path, numbers: Iterable[int], measure_one: Callable[[int], Figures] = measure
) -> None:
    """Measure, and draw a picture; the figures lie beside it as JSON, from the first one on."""
    measured: dict[int, Figures] = {}
    file.parent.mkdir(parents=True, exist_ok=True)
    for n_runs in numbers:
        measured[n_runs] = measure_one(n_runs)
        print(n_runs, json.dumps(measured[n_runs]), flush=True)
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
