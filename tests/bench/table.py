"""What is measured, what is asked of it, and how the two are printed."""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: All values that were measured, by key.
Samples = dict[str, list[float]]
OLD = "motoko 0.1.4"


@dataclass(frozen=True)
class Row:
    """One line of the table: the median of the values under ``key``.

    ``at_least`` and ``at_most`` are bars; ``peers`` the keys of the same figure of others, and
    ``ahead_of`` the least that ours may be of theirs, by peer. More is better with
    ``at_least`` or ``is_speed``.
    """

    what: str
    key: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    peers: Mapping[str, str] = field(default_factory=dict)
    ahead_of: Mapping[str, float] = field(default_factory=dict)
    is_speed: bool = False
    digits: int = 1

    @property
    def is_more_better(self) -> bool:
        """Whether the greater figure is the better one."""
        return self.is_speed or self.at_least is not None


def _old(key: str) -> dict[str, str]:
    return {OLD: f"{key} of {OLD}"}


def _peers(key: str, *more: str) -> dict[str, str]:
    names = ("parsl htex", "parsl threads", "dask", *more, OLD)
    return {name: f"{key} of {name}" for name in names}


ROWS: Sequence[Row] = (
    Row(
        "one createTask call of 100,000, tasks",
        "creation",
        "/s",
        20_000,
        peers=_old("creation"),
    ),
    Row("one createTask call of 1,000,000, tasks", "million: creation", "/s", 10_000),
    Row("  CPU, a run, at 100,000", "creation, cpu", "ms", digits=3),
    Row(
        "1,000 createTask calls in one session",
        "single creation",
        "/s",
        5_000,
        peers=_old("single creation"),
    ),
    Row(
        "select none of 100,000",
        "select none",
        "ms",
        at_most=5,
        peers=_old("select none"),
        digits=2,
    ),
    Row(
        "select one by a job value",
        "select one",
        "ms",
        at_most=5,
        peers=_old("select one"),
        digits=2,
    ),
    Row("select one by state and value", "select one of a state", "ms", at_most=5, digits=2),
    Row("select one by value and state", "select one, of a state", "ms", at_most=5, digits=2),
    Row("select 100 by state and run name", "select a hundred", "ms", at_most=5, digits=2),
    Row(
        "select 100 by run name and state",
        "select a hundred, turned",
        "ms",
        at_most=5,
        digits=2,
    ),
    Row("iterate all 100,000, warm", "iterate warm", "s", at_most=1, digits=2),
    Row("iterate all 100,000, cold", "iterate cold", "s", at_most=2, digits=2),
    Row("new process opens that study and selects", "new process", "s", at_most=0.3, digits=2),
    Row("  its CPU", "new process, cpu", "s", digits=2),
    Row(
        "wake-up with 50 actions at 100,000, CPU a commit",
        "wake-up",
        "ms",
        at_most=5,
        digits=2,
    ),
    Row("  CPU of the start and the first look", "wake-up, first look", "s", digits=2),
    Row("  of one core, while nobody commits", "wake-up, quiet", "%", digits=1),
    Row("wake-up with one action", "wake-up, one action", "ms", digits=2),
    Row(
        "finish() to the action, median",
        "finish to action",
        "ms",
        at_most=20,
        peers=_old("finish to action"),
    ),
    Row("finish() to the action, 99th percentile", "finish to action, 99 %", "ms", at_most=60),
    Row("chain of 20, a task", "chain", "ms", at_most=30, peers=_peers("chain")),
    Row(
        "1,000 no-op runs",
        "fan_out",
        "/s",
        is_speed=True,
        peers=_peers("fan_out", "loop", "xargs"),
        ahead_of={"parsl htex": 1.0, "parsl threads": 1.0, "loop": 0.6},
    ),
    Row("their CPU, a run", "cpu", "ms", peers={"loop": "cpu of loop"}, digits=2),
    Row("  of the server", "cpu of server", "ms", digits=2),
    Row("  of the launcher", "cpu of launcher", "ms", digits=2),
    Row("  of the orchestrator", "cpu of orchestrator", "ms", digits=2),
    Row("  of the bash processes", "cpu of children", "ms", digits=2),
    Row(
        "python job script, beyond the interpreter",
        "script",
        "ms",
        at_most=40,
        peers=_old("script"),
    ),
    Row("quickstart: execution", "quickstart", "s", at_most=2, digits=2),
    Row("  its CPU", "quickstart, cpu", "s", digits=2),
    Row("quickstart: start-up", "startup", "s", at_most=1.5, peers=_old("startup"), digits=2),
    Row("  its CPU", "startup, cpu", "s", digits=2),
    Row("idle, ten studies of 1,000 runs: memory", "idle memory", "MB", at_most=130),
    Row("idle: of one core", "idle cpu", "%", at_most=0.3, digits=2),
    Row(
        "batch of 1,000 trivial jobs, a job",
        "batch",
        "ms",
        peers={"concurrent.futures": "batch of concurrent.futures"},
        digits=2,
    ),
    Row("  beyond concurrent.futures", "batch, added", "ms", at_most=1, digits=2),
    Row("  its CPU", "batch, added, cpu", "ms", digits=2),
    Row(
        "submission of 200 runs to Slurm",
        "submit",
        "/s",
        is_speed=True,
        peers={"sbatch in a loop": "submit of sbatch in a loop"},
        ahead_of={"sbatch in a loop": 0.9},
    ),
    Row(
        "the same as one array, its request",
        "submit array",
        "/s",
        is_speed=True,
        peers={"sbatch --array": "submit array of sbatch --array"},
        ahead_of={"sbatch --array": 0.9},
    ),
    Row(
        "  with the directories of its runs",
        "submit array, all",
        "/s",
        is_speed=True,
        peers={
            "sbatch --array": "submit array of sbatch --array",
            "the same by hand": "submit array by hand",
        },
        ahead_of={"sbatch --array": 0.9},
    ),
    Row("end of a Slurm job to FINISHED", "job to FINISHED", "s", at_most=0.2, digits=3),
    Row("motoko info, three studies of 100,000", "info", "s", at_most=0.5, digits=2),
    Row("  its CPU", "info, cpu", "s", digits=2),
    Row("motoko --help", "help", "s", at_most=0.15, peers=_old("help"), digits=3),
    Row("  its CPU", "help, cpu", "s", digits=3),
    Row("the interpreter alone", "interpreter", "s", digits=3),
    Row("database, bytes a run, batched", "bytes batched", "B", at_most=1000, digits=0),
    Row("database, bytes a run, singly in a chain", "bytes singly", "B", digits=0),
    Row("a million runs: recorded", "million: recorded", "/s", is_speed=True, digits=0),
    Row("a million runs: bytes created", "million: bytes created", "B", digits=0),
    Row("a million runs: bytes recorded", "million: bytes recorded", "B", digits=0),
    Row(
        "a million runs: select 100 by state",
        "million: select by state",
        "ms",
        at_most=5,
        digits=2,
    ),
    Row(
        "a million runs: select one by value",
        "million: select by value",
        "ms",
        at_most=5,
        digits=2,
    ),
    Row("a million runs: ten new runs", "million: first launched", "s", digits=2),
    Row("a million runs: server", "million: memory of server", "MB", at_most=600),
    Row("a million runs: launcher", "million: memory of launcher", "MB", at_most=600),
    Row("a million runs: orchestrator", "million: memory of orchestrator", "MB", at_most=600),
    Row("a million runs: who creates them", "million: memory of creator", "MB", at_most=600),
)


@dataclass(frozen=True)
class Line:
    """One printed line: ours, or a peer beside it."""

    what: str
    unit: str
    median: float
    least: float
    greatest: float
    n_times: int
    peer: str | None = None
    #: How many times better ours is than the peer.
    ratio: float | None = None
    bar: str = ""
    is_reached: bool | None = None
    digits: int = 1


def lines(samples: Samples, rows: Sequence[Row] = ROWS) -> list[Line]:
    """The lines for what was measured."""
    found = []
    for row in rows:
        if row.key in samples:
            ours = _ours(row, samples[row.key])
            found.append(ours)
            found += [
                _beside(row, ours, name, samples[key], samples)
                for name, key in row.peers.items()
                if key in samples
            ]
    return found


def _ours(row: Row, values: Sequence[float]) -> Line:
    median = statistics.median(values)
    bar, is_reached = "", None
    for sign, asked, holds in (
        (">=", row.at_least, operator.ge),
        ("<=", row.at_most, operator.le),
    ):
        if asked is not None:
            bar, is_reached = f"{sign} {asked:,g}", holds(median, asked)
    return Line(
        row.what,
        row.unit,
        median,
        min(values),
        max(values),
        len(values),
        bar=bar,
        is_reached=is_reached,
        digits=row.digits,
    )


def _beside(row: Row, ours: Line, name: str, values: Sequence[float], samples: Samples) -> Line:
    median = statistics.median(values)
    ratios = samples.get(f"ratio {name}: {row.key}") or [quotient(ours.median, median)]
    ratio = statistics.median(ratios)
    if not row.is_more_better:
        ratio = quotient(1.0, ratio)
    least = row.ahead_of.get(name)
    return Line(
        row.what,
        row.unit,
        median,
        min(values),
        max(values),
        len(values),
        peer=name,
        ratio=ratio,
        bar=f">= {least:g} x" if least is not None else "",
        is_reached=ratio >= least if least is not None else None,
        digits=row.digits,
    )


def quotient(one: float, other: float) -> float:
    """How many times the other it is; of what was too short to be measured, infinitely."""
    return one / other if other else math.inf


def text(found: Sequence[Line]) -> str:
    """The table as it is printed."""
    header = ("", "median", "least", "greatest", "times", "ratio", "bar", "reached")
    cells = [header, *map(_cells, found)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _cells(line: Line) -> tuple[str, ...]:
    name = f"{line.what}, {line.unit}" if line.peer is None else f"    {line.peer}"
    figures = (f"{v:,.{line.digits}f}" for v in (line.median, line.least, line.greatest))
    reached = {None: "", True: "yes", False: "NO"}[line.is_reached]
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
    return (name, *figures, str(line.n_times), ratio, line.bar, reached)


def plain(found: Sequence[Line]) -> list[dict[str, Any]]:
    """The lines as JSON."""
    return [{k: v for k, v in vars(line).items() if k != "digits"} for line in found]
