"""One study with many runs: ``python -m tests.bench.large N_RUNS [--no-launcher]``.

A process of its own, so that its memory is that of who creates and selects. Prints JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from resource import RUSAGE_SELF, getrusage
from typing import Any

from motoko.launch.work import HELD
from motoko.workflow import Workflow
from tests.bench.harness import (
    NO_OP,
    ROOT,
    Figures,
    cpu_s,
    daemons,
    measured_workflow,
    orchestrator,
    timed,
    timed_children,
    usage,
)

N_ACTIONS = 50
N_CHOSEN = 100
#: How often an orchestrator looks at everything although nobody tells it anything.
TIMER_S = 5.0
#: Longer than an orchestrator looks at a million runs for the first time.
FIRST_LOOK_S = 1800.0


def measure(n_runs: int, n_times: int = 7, n_commits: int = 100) -> Figures:
    """Creation, selection, a new process and wake-ups at so many runs."""
    with measured_workflow({"work": NO_OP}, launcher=False) as workflow:
        found = create(workflow, n_runs)
        found |= select(workflow, n_runs, n_times)
        found |= new_process(workflow, n_runs, min(n_times, 5))
        found |= create_singly(workflow, min(1000, n_runs))
        found |= wake_up(workflow, n_runs, n_commits)
        found["memory of server"] = usage(daemons(workflow)["server"]).pss / 1e6
        found["memory of creator"] = getrusage(RUSAGE_SELF).ru_maxrss / 1e3
    return found


def create(workflow: Workflow, n_runs: int) -> Figures:
    """One createTask call, outside of any action: committed when it returns."""
    manager = workflow.work
    file = manager.base.database_file
    manager.createTask(x=-1e9)
    before = file.stat().st_size
    server = daemons(workflow)["server"]
    served = cpu_s(server)
    own = time.process_time()
    with timed() as taken:
        manager.createTask(x=[float(i) for i in range(n_runs)])
    cpu = time.process_time() - own + cpu_s(server) - served
    size = file.stat().st_size - before
    return {
        "creation": n_runs / taken[0],
        "creation, cpu": 1e3 * cpu / n_runs,
        "bytes created": size / n_runs,
    }


def select(workflow: Workflow, n_runs: int, n_times: int) -> Figures:
    """Selections over what was created, of which a hundred have finished.

    As many have under another run name, too, so that the state alone does not tell.
    """
    manager = workflow.work
    n_chosen = min(N_CHOSEN, n_runs)
    workflow.run_name = "other"
    others = [run.id for run, _ in manager.createTask(x=[float(i) for i in range(n_chosen)])]
    workflow.run_name = "bench"
    with workflow.session():
        for run_id in (*range(2, n_chosen + 2), *others):
            manager.base.run(run_id).state = "FINISHED"
    questions = {
        "none": ("state = FAILED", 0),
        "one": (f"x = {float(n_runs // 2)}", 1),
        "one of a state": (f"state = CREATED, x = {float(n_runs - 1)}", None),
        "one, of a state": (f"x = {float(n_runs - 1)}, state = CREATED", None),
        "a hundred": ("state = FINISHED, run_name = bench", n_chosen),
        "a hundred, turned": ("run_name = bench, state = FINISHED", n_chosen),
    }
    found = {}
    for name, (constraint, n_wanted) in questions.items():
        times = []
        for _ in range(n_times):
            with timed() as taken:
                runs = manager.select(constraint).exec()
            assert n_wanted in (None, len(runs)), (constraint, len(runs))
            times += taken
        found[f"select {name}"] = 1e3 * statistics.median(times)
    found["select"] = max(found.values())
    for _ in range(2):
        with timed() as taken:
            n_seen = sum(1 for run, job in manager.select() if run.state and job.x < 1e9)
        assert n_seen == n_runs + 1
    found["iterate warm"] = taken[0]
    return found


NEW_PROCESS = """\
import sys, time
from motoko.workflow import Workflow
workflow = Workflow(sys.argv[1])
workflow.run_name = "bench"
assert len(workflow.work.select("state = FINISHED").exec()) == int(sys.argv[2])
if len(sys.argv) > 3:
    began = time.perf_counter()
    assert sum(1 for run, job in workflow.work.select() if run.state and job.x < 1e9)
    print(time.perf_counter() - began)
workflow.close()
"""


def new_process(workflow: Workflow, n_runs: int, n_times: int) -> Figures:
    """A new process that opens the study and selects a hundred, beyond a bare interpreter."""
    spans, cpus, colds = [], [], []
    options = [NEW_PROCESS, str(workflow.directory), str(min(N_CHOSEN, n_runs))]
    for _ in range(n_times):
        times = []
        for code in (["pass"], options, ["pass"]):
            with timed_children() as taken:
                subprocess.run([sys.executable, "-c", *code], cwd=ROOT, check=True)
            times.append(taken)
        bare = [(a + b) / 2 for a, b in zip(times[0], times[2], strict=True)]
        spans.append(times[1][0] - bare[0])
        cpus.append(times[1][1] - bare[1])
        command = [sys.executable, "-c", *options, "iterate"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        colds.append(float(done.stdout))
    return {
        "new process": statistics.median(spans),
        "new process, cpu": statistics.median(cpus),
        "iterate cold": statistics.median(colds),
    }


def create_singly(workflow: Workflow, n_tasks: int) -> Figures:
    """createTask calls of one task each, committed as one unit."""
    with timed() as taken, workflow.session():
        for i in range(n_tasks):
            workflow.work.createTask(x=-1.0 - i)
    return {"single creation": n_tasks / taken[0]}


def wake_up(workflow: Workflow, n_runs: int, n_commits: int) -> Figures:
    """Processor time of an orchestrator with fifty actions, for each commit of another.

    The median of many commits, each waited for: what the orchestrator does by itself from time
    to time is in few of them, and stands beside it as its share of a core.
    """
    study = workflow.work.base
    # An orchestrator starts a launcher, which is not to execute them all meanwhile.
    study.database.write(lambda tables: tables.set_fact(HELD, time.time()))
    found = {}
    for key, n_actions in (("wake-up", N_ACTIONS), ("wake-up, one action", 1)):
        with orchestrator(workflow, n_actions) as pid:
            settle(pid, FIRST_LOOK_S)
            found[f"{key}, first look"] = cpu_s(pid)
            study.run(2).state = "TOLD"
            settle(pid)
            quiet_s = min(2 * TIMER_S, n_commits / 10)
            before = cpu_s(pid)
            time.sleep(quiet_s)
            found[f"{key}, quiet"] = 100 * (cpu_s(pid) - before) / quiet_s
            used = []
            for i in range(n_commits):
                before = cpu_s(pid)
                study.run(2).state = f"TOLD{i % 2}"
                settle(pid, step_s=0.03)
                used.append(1e3 * (cpu_s(pid) - before))
            found[key] = statistics.median(used)
            found["memory of orchestrator"] = usage(pid).pss / 1e6
    return found


def settle(pid: int, at_most_s: float = 30.0, step_s: float = 0.2) -> None:
    """Wait until a process does next to nothing, or for so long."""
    deadline = time.monotonic() + at_most_s
    last = cpu_s(pid)
    n_quiet = 0
    while n_quiet < 3 and time.monotonic() < deadline:
        time.sleep(step_s)
        now = cpu_s(pid)
        n_quiet = n_quiet + 1 if now - last < 0.001 else 0
        last = now


def in_new_process(n_runs: int, *options: Any) -> Figures:
    """What `measure` gives in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.large", str(n_runs), *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: Figures = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:]))))
