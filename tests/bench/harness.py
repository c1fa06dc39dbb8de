"""Workflows with their real server and launcher processes, and how to look at processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from motoko.workflow import Workflow, control, making
from tests.support.workflows import write_workflow

ROOT = Path(__file__).parents[2]
NO_OP = "true\n"
#: Which of the clocks of a process: the time that it was on a processor.
_SCHEDULED = 2
BD_YAML = """\
study: {name}
job: {{x: float, n: int, s: str}}
run: {{norm: float}}
job_space: {{n: 1, s: a}}
"""

Figures = dict[str, float]


@contextmanager
def measured_workflow(
    scripts: Mapping[str, str], *, launcher: bool = True, more: str = ""
) -> Iterator[Workflow]:
    """A new workflow with a study for each script, its processes started and then stopped.

    ``more`` goes behind what is in each ``bd.yaml``.
    """
    directory = Path(tempfile.mkdtemp(prefix="motoko-bench-"))
    try:
        write_workflow(directory, {name: BD_YAML.format(name=name) + more for name in scripts})
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


def execute(workflow: Workflow, main: Callable[..., Awaitable[Any]]) -> None:
    """Run the workflow with this ``main``, in this process."""
    workflow.orchestrator_function = main
    anyio.run(workflow.run)


def daemons(workflow: Workflow) -> dict[str, int]:
    """The process ids of those of a workflow's server and launcher that run."""
    offices = {
        "server": control.server_office(workflow),
        "launcher": control.launcher_office(workflow),
    }
    return {name: owner.pid for name, office in offices.items() if (owner := office.owner())}


@dataclass(frozen=True)
class Usage:
    """What a process has used: seconds of processor time, bytes of memory of its own.

    ``children_s`` is the time of children that it has waited for.
    """

    cpu_s: float
    children_s: float
    rss: int
    pss: int


def usage(pid: int) -> Usage:
    """What a process uses now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    own, children = (sum(map(int, fields[i : i + 2])) / ticks for i in (11, 13))
    sizes = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    kib = {name: int(value.split()[0]) for name, value in sizes.items()}
    return Usage(own, children, kib["Rss"] << 10, kib["Pss"] << 10)


def cpu_s(pid: int) -> float:
    """Processor time of a process, to the nanosecond, that of threads that have ended too.

    The number of its clock is what clock_getcpuclockid(3) gives, which Python does not have.
    """
    return time.clock_gettime(~pid << 3 | _SCHEDULED)


@contextmanager
def timed() -> Iterator[list[float]]:
    """The seconds that the block takes, as the one item of a list."""
    taken: list[float] = []
    began = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - began)


@contextmanager
def timed_processor() -> Iterator[list[float]]:
    """Seconds of processor time in the block: of this process, and of children that ended."""
    taken: list[float] = []
    before = os.times()
    yield taken
    taken.append(sum(os.times()[:4]) - sum(before[:4]))


@contextmanager
def timed_children() -> Iterator[list[float]]:
    """Seconds that the block takes, and of processor time of the children that ended in it.

    The second is what noise on the machine changes less.
    """
    taken: list[float] = []
    before = os.times()
    yield taken
    after = os.times()
    cpu = after.children_user + after.children_system
    taken += [after.elapsed - before.elapsed]
    taken += [cpu - before.children_user - before.children_system]


ORCHESTRATOR = """\
import sys
import anyio
from motoko.workflow import Workflow
workflow = Workflow(sys.argv[1])
workflow.run_name = "bench"
async def never(**params): ...
async def main(workflow, **params):
    for name in workflow.task_managers:
        for i in range(int(sys.argv[2])):
            condition = ("state = STATE{}", "state = FINISHED, x = -{}", "norm > {}")[i % 3]
            workflow.add_action(f"never{i}", name, condition.format(1 + i), f=never)
    print("ready", flush=True)
    if sys.argv[3] == "True":
        await anyio.sleep_forever()
workflow.orchestrator_function = main
workflow.execute()
"""


@contextmanager
def orchestrator(
    workflow: Workflow, n_actions: int, *, main_goes_on: bool = True
) -> Iterator[int]:
    """An orchestrator with so many actions a study that are never called; its process id.

    When ``main`` has returned and no run is under way, nothing can happen any more, and the
    orchestrator says why at each change.
    """
    options = [str(workflow.directory), str(n_actions), str(main_goes_on)]
    command = [sys.executable, "-c", ORCHESTRATOR, *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.terminate()
