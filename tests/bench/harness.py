"""A workflow with its real server and launcher processes, to be measured."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from motoko.workflow import Workflow, control, making
from tests.support.workflows import write_workflow

BD_YAML = """\
study: {name}
job: {{x: float, n: int, s: str}}
run: {{norm: float}}
job_space: {{n: 1, s: a}}
"""


@contextmanager
def measured_workflow(
    scripts: Mapping[str, str], *, launcher: bool = True
) -> Iterator[Workflow]:
    """A new workflow with a study for each script, its processes started and then stopped."""
    directory = Path(tempfile.mkdtemp(prefix="motoko-bench-"))
    try:
        write_workflow(directory, {name: BD_YAML.format(name=name) for name in scripts})
        for name, script in scripts.items():
            (directory / name / "launch.sh").write_text(script)
        workflow = Workflow(str(directory))
        making.create(workflow, reset=False)
        if launcher:
            control.start_launcher(workflow)
        workflow.run_name = "bench"
        try:
            yield workflow
        finally:
            workflow.close()
            control.stop_all(workflow)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True)
class Usage:
    """What a process has used: seconds of processor time, bytes of memory of its own."""

    cpu_s: float
    rss: int
    pss: int


def usage(pid: int) -> Usage:
    """What a process uses now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    sizes = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    kib = {name: int(value.split()[0]) for name, value in sizes.items()}
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), kib["Rss"] << 10, kib["Pss"] << 10)


@contextmanager
def timed() -> Iterator[list[float]]:
    """The seconds that the block takes, as the one item of a list."""
    taken: list[float] = []
    began = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - began)
