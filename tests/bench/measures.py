"""The measurements: each takes a size and gives figures by name.

Times are wall-clock seconds unless the name says otherwise; every figure is of processes
started as a user starts them, with durability as it is by default.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from motoko.workflow import Workflow, control
from tests.bench.harness import measured_workflow, timed, usage

Figures = dict[str, float]
NO_OP = "true\n"


def execute(workflow: Workflow, main: Callable[..., Awaitable[Any]]) -> None:
    """Run the workflow with this ``main``, in this process."""
    workflow.orchestrator_function = main
    anyio.run(workflow.run)


def chain(n_tasks: int) -> Figures:
    """Awaited single no-op tasks, one after the other: milliseconds a task."""
    found: list[float] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        await workflow.work.createTask(x=-1.0)
        for i in range(n_tasks):
            with timed() as taken:
                await workflow.work.createTask(x=float(i))
            found.extend(taken)
        workflow.finished = True

    with measured_workflow({"work": NO_OP}) as workflow:
        execute(workflow, main)
    return {
        "chain, ms a task": 1e3 * statistics.fmean(found),
        "chain, median ms": 1e3 * statistics.median(found),
    }


def fan_out(n_runs: int) -> Figures:
    """No-op runs created at once: runs a second from creation to the last FINISHED."""
    found: list[float] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        await workflow.work.createTask(x=-1.0)
        with timed() as taken:
            await workflow.work.createTask(x=[float(i) for i in range(n_runs)])
        found.extend(taken)
        workflow.finished = True

    with measured_workflow({"work": NO_OP}) as workflow:
        execute(workflow, main)
        size = workflow.work.base.database_file.stat().st_size
    return {"fan-out, runs/s": n_runs / found[0], "database, bytes a run": size / (n_runs + 1)}


def creation(n_runs: int) -> Figures:
    """One createTask call, then selections over what it made."""
    with measured_workflow({"work": NO_OP}, launcher=False) as workflow:
        manager = workflow.work
        with timed() as created:
            manager.createTask(x=[float(i) for i in range(n_runs)])
        figures = {f"creation of {n_runs}, tasks/s": n_runs / created[0]}
        for run_id in range(1, min(100, n_runs) + 1):
            manager.base.run(run_id).state = "FINISHED"
        questions = {
            "all": None,
            "one by a job value": f"x = {float(n_runs // 2)}",
            "a hundred by state": "state = FINISHED",
        }
        for name, constraint in questions.items():
            times = []
            for _ in range(7):
                with timed() as taken:
                    ids = manager.base.select(manager.select(constraint).selector)
                    assert ids
                times += taken
            figures[f"select {name}, ms"] = 1e3 * statistics.median(times)
        with timed() as iterated:
            n_seen = sum(1 for run, job in manager.select() if run.state and job.x >= 0)
        assert n_seen == n_runs
        figures[f"iterating {n_runs}, s"] = iterated[0]
        with timed() as singly, workflow.session():
            for i in range(min(1000, n_runs)):
                manager.createTask(x=-1.0 - i)
        figures["createTask calls in one session, /s"] = min(1000, n_runs) / singly[0]
    return figures


SAYS_FINISH = """\
exec {python} - <<'END'
import motoko, time
run, job = motoko.get_run()
run.start()
run.said = time.time()
run.finish()
END
"""


def finish_to_action(n_runs: int) -> Figures:
    """From ``run.finish()`` in a job script to the first line of the action, one at a time."""
    delays: list[float] = []

    async def forward(runs: Any, workflow: Workflow, **params: Any) -> None:
        now = time.time()
        for run, _ in runs:
            delays.append(now - run.said)
            run.state = "FORWARDED"
        if len(delays) < n_runs:
            workflow.work.createTask(x=float(len(delays)))
        else:
            workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("forward", "work", "state = FINISHED", f=forward)
        workflow.work.createTask(x=-1.0)

    script = SAYS_FINISH.format(python=sys.executable)
    with measured_workflow({"work": script}) as workflow:
        execute(workflow, main)
    ordered = sorted(delays)
    return {
        "finish() to action, median ms": 1e3 * statistics.median(ordered),
        "finish() to action, 99th percentile ms": 1e3 * ordered[int(0.99 * (len(ordered) - 1))],
    }


IDLE = """\
import asyncio, sys
from motoko.workflow import Workflow
workflow = Workflow(sys.argv[1])
workflow.run_name = "bench"
async def never(**params): ...
async def main(workflow, **params):
    for name in workflow.task_managers:
        workflow.add_action("never", name, "state = NEVER", f=never)
    print("ready", flush=True)
workflow.orchestrator_function = main
workflow.execute()
"""


def idle(n_studies: int, *, n_runs: int = 1000, seconds: float = 60.0) -> Figures:
    """Server, launcher and orchestrator with nothing to do: memory and processor time."""
    scripts = {f"study{i}": NO_OP for i in range(n_studies)}
    with measured_workflow(scripts, launcher=False) as workflow:
        for manager in workflow.task_managers.values():
            with workflow.session():
                manager.createTask(x=[float(i) for i in range(n_runs)])
                for run, _ in manager.select():
                    run.state = "FINISHED"
        control.start_launcher(workflow)
        command = [sys.executable, "-c", IDLE, str(workflow.directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as orchestrator:
            assert orchestrator.stdout is not None
            assert orchestrator.stdout.readline() == "ready\n"
            time.sleep(seconds / 12)  # what starting up leaves behind is not idling
            owners = (control.server_office(workflow), control.launcher_office(workflow))
            pids = [owner.pid for office in owners if (owner := office.owner())]
            pids.append(orchestrator.pid)
            before = [usage(pid) for pid in pids]
            time.sleep(seconds)
            after = [usage(pid) for pid in pids]
            orchestrator.terminate()
    names = ("server", "launcher", "orchestrator")
    figures = {
        f"idle {name}, MB": used.pss / 1e6 for name, used in zip(names, after, strict=True)
    }
    cpu = sum(b.cpu_s - a.cpu_s for a, b in zip(before, after, strict=True))
    figures["idle, MB in all"] = sum(used.pss for used in after) / 1e6
    figures["idle, % of a core in all"] = 100 * cpu / seconds
    return figures


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
