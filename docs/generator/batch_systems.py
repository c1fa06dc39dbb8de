"""The page about batch systems."""

from __future__ import annotations

from docs.generator.markdown import page, table
from motoko.launch.batch_generator import BatchGenerator, Shape
from motoko.launch.generator import find_generator
from motoko.launch.resources import Resources
from motoko.launch.room import MOST_SUBMITTED

_NAMES = ("slurm", "sge", "pbs", "dask")
_ASKED = {
    "nproc": ("4", {}),
    "mem": ("2G", {"mem_mb": 2048}),
    "walltime": ("90m", {"walltime_s": 5400}),
    "gpus": ("2", {"gpus": "2"}),
    "account": ("name", {"account": "name"}),
    "partition": ("name", {"partition": "name"}),
}
_SHAPES = [
    [
        "`array: true`",
        "runs that ask for the same become one array; each is a job of it, and `max_concurrent`"
        " its throttle",
    ],
    ["`pack: 20`", "up to 20 of them become one job, which executes one after the other"],
    [
        "`completion: explicit`",
        "a script that [hands its work on](job-side.md#handing-work-on) is over when that"
        " job is, or when it says so",
    ],
]


def batch_systems_page() -> str:
    """The page about batch systems."""
    systems = [_system(name) for name in _NAMES]
    rows = [
        [f"`{key}: {written}`", *(_asked(system, facts) for system in systems)]
        for key, (written, facts) in _ASKED.items()
    ]
    reserved = [
        [system.name, ", ".join(f"`{name}`" for name in system.dialect.reserved)]
        for system in systems
    ]
    return page(
        "batch-systems.md",
        generators=", ".join(f"`{name}`" for name in ("bash", *_NAMES)),
        resources=table(["key", *_NAMES], rows),
        reserved=table(["system", "options"], reserved),
        shape=table(["in `bd.yaml`", "means"], _SHAPES),
        most=str(MOST_SUBMITTED),
    )


def _system(name: str) -> BatchGenerator:
    found = find_generator(name)
    assert isinstance(found, BatchGenerator)
    return found


def _asked(system: BatchGenerator, facts: dict[str, object]) -> str:
    """What changes when one of these is asked for."""
    before = system.directives("name", Shape(Resources()), "log")
    asked = system.directives("name", Shape(Resources(4, **facts)), "log")  # type: ignore[arg-type]
    plain = system.directives("name", Shape(Resources(4)), "log") if facts else before
    return ", ".join(f"`{text}`" for text in asked if text not in plain)
