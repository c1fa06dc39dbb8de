"""A study with very many runs that all ended: ``python -m tests.bench.recording N_RUNS``.

They are completed through the launcher's own recording path: its desk claims them, its attempts
say that they ended, its commits write that down, as many together as it would have at a time.
Only the processes and directories of the runs are left out. Prints JSON.
"""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import anyio

from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk
from motoko.launch.trouble import Troubles
from motoko.study.study import Study
from motoko.workflow import Workflow, control
from tests.bench.harness import (
    NO_OP,
    ROOT,
    Figures,
    cpu_s,
    daemons,
    measured_workflow,
    orchestrator,
    timed,
    usage,
)
from tests.bench.large import create

#: As many as the launcher claims ahead at most.
N_AHEAD = 256


class Instant:
    """Executes each attempt in no time."""

    is_busy = True

    def __init__(self) -> None:
        self.desk: Desk | None = None
        self.n_ended = 0

    def n_wanted(self, desk: Desk) -> int:
        return N_AHEAD - len(desk.waiting)

    def schedule(self) -> None:
        desk = self.desk
        assert desk is not None
        while desk.waiting:
            attempt = desk.waiting.popleft()
            now = time.time()
            attempt.begin(1, now)
            attempt.end(0, now)
            desk.note(attempt)
            self.n_ended += 1
        desk.claim()

    def walltime_s(self, desk: Desk, row: Mapping[str, Any]) -> float | None:
        return None

    def adopt(self, desk: Desk, attempt: Attempt, state: str) -> None:
        raise AssertionError("nobody else executes")

    def withdraw(self, desk: Desk, attempt: Attempt, state: str) -> None:
        raise AssertionError("nobody else changes runs")

    def end_left(self, run_dir: str, number: int) -> None:
        raise AssertionError("nobody else executes")


async def complete(study: Study, n_runs: int) -> None:
    """Let all CREATED runs of a study come to their end."""
    executing = Instant()
    desk = executing.desk = Desk(study, "bench", executing, Troubles(lambda _: None))
    async with anyio.create_task_group() as group:
        group.start_soon(desk.run)
        while executing.n_ended < n_runs or desk.held:
            await anyio.sleep(0.05)
        group.cancel_scope.cancel()


def measure(n_runs: int, n_times: int = 7) -> Figures:
    """Created, completed, selected; then what the processes take that open the study."""
    logging.disable(logging.WARNING)
    with measured_workflow({"work": NO_OP}, launcher=False) as workflow:
        server = daemons(workflow)["server"]
        file = workflow.work.base.database_file
        found = create(workflow, n_runs)
        size = file.stat().st_size
        cpu = cpu_s(server)
        own = time.process_time()
        with timed() as taken:
            anyio.run(complete, workflow.work.base, n_runs + 1)
        assert workflow.work.base.counts() == {"FINISHED": n_runs + 1}
        found["recorded"] = n_runs / taken[0]
        found["recorded, ms of CPU of server"] = 1e3 * (cpu_s(server) - cpu) / n_runs
        found["recorded, ms of CPU of launcher"] = 1e3 * (time.process_time() - own) / n_runs
        found["bytes recorded"] = (file.stat().st_size - size) / n_runs
        found |= chosen(workflow, n_runs, n_times)
        control.start_launcher(workflow)
        with orchestrator(workflow, 1) as pid:
            pids = {**daemons(workflow), "orchestrator": pid}
            found["first launched"] = launch_some(workflow)
            sizes = {name: usage(pid).pss / 1e6 for name, pid in pids.items()}
        found |= {f"memory of {name}": size for name, size in sizes.items()}
        found["memory, most"] = max(sizes.values())
    return found


def chosen(workflow: Workflow, n_runs: int, n_times: int) -> Figures:
    """Selecting a hundred of so many by their state, and one by a value."""
    manager = workflow.work
    n_chosen = min(100, n_runs)
    with workflow.session():
        for run_id in range(2, n_chosen + 2):
            manager.base.run(run_id).state = "FORWARDED"
    found = {}
    for key, constraint, n_wanted in (
        ("select by state", "state = FORWARDED", n_chosen),
        ("select by value", f"x = {float(n_runs // 2)}", 1),
    ):
        times = []
        for _ in range(n_times):
            with timed() as taken:
                assert len(manager.select(constraint).exec()) == n_wanted
            times += taken
        found[key] = 1e3 * statistics.median(times)
    return found


def launch_some(workflow: Workflow) -> float:
    """How long ten new runs take, in seconds, among so many old ones."""

    async def work() -> float:
        with timed() as taken:
            with anyio.fail_after(60):
                await workflow.work.createTask(x=[-100.0 - i for i in range(10)])
        return taken[0]

    return anyio.run(work)


def in_new_process(n_runs: int) -> Figures:
    """What `measure` gives in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.recording", str(n_runs)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: Figures = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:]))))
