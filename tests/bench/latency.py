"""How long it takes from one event to the next, and how many runs get through a second."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from motoko.workflow import Workflow
from tests.bench.harness import (
    NO_OP,
    Figures,
    daemons,
    execute,
    measured_workflow,
    timed,
    usage,
)
from tests.bench.peers import NotThere, Peers, run_script
from tests.bench.table import quotient

#: Contenders give the same figure as ours under the same key.
Contender = Callable[[], Figures]


def interleaved(
    ours: Contender, peers: Mapping[str, Contender], key: str, n_rounds: int
) -> list[Figures]:
    """Ours, a peer, ours, the next peer, ours, ...: so that noise meets all of them alike.

    ``key of PEER`` is the peer's figure, ``ratio PEER: key`` ours (the mean of the one before
    and the one after) over the peer's.
    """
    found = []
    missing: set[str] = set()
    for _ in range(n_rounds):
        before = ours()
        found.append(before)
        for name, peer in peers.items():
            if name in missing:
                continue
            try:
                theirs = peer()
            except NotThere:
                missing.add(name)
                continue
            after = ours()
            ratio = quotient((before[key] + after[key]) / 2, theirs[key])
            by_peer = {f"{k} of {name}": v for k, v in theirs.items()}
            found += [after, {**by_peer, f"ratio {name}: {key}": ratio}]
            before = after
    return found


def chain(n_tasks: int) -> Figures:
    """Awaited single no-op tasks, one after the other: milliseconds a task."""
    times: list[float] = []

    async def main(workflow: Workflow, **params: Any) -> None:
        await workflow.work.createTask(x=-1.0)
        for i in range(n_tasks):
            with timed() as taken:
                await workflow.work.createTask(x=float(i))
            times.extend(taken)
        workflow.finished = True

    with measured_workflow({"work": NO_OP}) as workflow:
        file = workflow.work.base.database_file
        size = file.stat().st_size
        execute(workflow, main)
        size = file.stat().st_size - size
    return {"chain": 1e3 * statistics.fmean(times), "bytes singly": size / (n_tasks + 1)}


def chains(n_tasks: int, n_rounds: int, peers: Peers) -> list[Figures]:
    """The chain, beside those of others."""
    others: dict[str, Contender] = {
        "parsl htex": lambda: peers.parsl("htex", chain=n_tasks),
        "parsl threads": lambda: peers.parsl("threads", chain=n_tasks),
        "dask": lambda: peers.dask(chain=n_tasks),
    }
    return interleaved(lambda: chain(n_tasks), others, "chain", n_rounds)


def fan_out(n_runs: int) -> Figures:
    """No-op runs created at once: runs a second from creation to the last FINISHED."""
    found: Figures = {}

    async def main(workflow: Workflow, **params: Any) -> None:
        await workflow.work.createTask(x=-1.0)
        pids = {**daemons(workflow), "orchestrator": os.getpid()}
        before = {name: usage(pid) for name, pid in pids.items()}
        size = workflow.work.base.database_file.stat().st_size
        with timed() as taken:
            await workflow.work.createTask(x=[float(i) for i in range(n_runs)])
        found["fan_out"] = n_runs / taken[0]
        grown = workflow.work.base.database_file.stat().st_size - size
        found["bytes batched"] = grown / n_runs
        total = 0.0
        for name, pid in pids.items():
            after = usage(pid)
            cpu = after.cpu_s - before[name].cpu_s
            children = after.children_s - before[name].children_s
            found[f"cpu of {name}"] = 1e3 * cpu / n_runs
            total += cpu + children
            if name == "launcher":
                found["cpu of children"] = 1e3 * children / n_runs
        found["cpu"] = 1e3 * total / n_runs
        workflow.finished = True

    with measured_workflow({"work": NO_OP}) as workflow:
        execute(workflow, main)
    return found


def fan_outs(n_runs: int, n_rounds: int, peers: Peers) -> list[Figures]:
    """The fan-out, beside those of others and of loops without a database."""
    others: dict[str, Contender] = {
        "loop": lambda: bare_loop(n_runs),
        "parsl threads": lambda: peers.parsl("threads", fan_out=n_runs),
        "parsl htex": lambda: peers.parsl("htex", fan_out=n_runs),
        "dask": lambda: peers.dask(fan_out=n_runs),
        "xargs": lambda: xargs(n_runs),
    }
    return interleaved(lambda: fan_out(n_runs), others, "fan_out", n_rounds)


def bare_loop(n_runs: int) -> Figures:
    """One bash a run with directory, three files, token and outcome; no database."""
    found = run_script(sys.executable, "bare_loop.py", n_runs, name="the loop")
    return {**found, "cpu": found["cpu of itself"] + found["cpu of its children"]}


def xargs(n_runs: int) -> Figures:
    """A bash for each line, two at a time, and nothing else."""
    return run_script(sys.executable, "bare_xargs.py", n_runs, name="xargs")


SCRIPT = """\
before=$EPOCHREALTIME
{python} -c pass
between=$EPOCHREALTIME
{python} doIt.py
echo $before $between $EPOCHREALTIME > times
"""
DO_IT = """\
import time
import motoko
run, job = motoko.get_run()
run.start()
run.pushQuantity(1.0, 1, "y")
run.said = time.time()
run.finish()
"""


def finish_to_action(n_runs: int) -> list[Figures]:
    """From ``run.finish()`` in a job script to the first line of the action, one at a time.

    Also what such a script takes beyond an interpreter that does nothing, started just before.
    """
    delays: list[float] = []

    async def forward(runs: Any, workflow: Workflow, **params: Any) -> None:
        from time import time

        now = time()
        for run, _ in runs:
            delays.append(1e3 * (now - run.said))
            run.state = "FORWARDED"
        if len(delays) < n_runs:
            workflow.work.createTask(x=float(len(delays)))
        else:
            workflow.finished = True

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("forward", "work", "state = FINISHED", f=forward)
        workflow.work.createTask(x=-1.0)

    with measured_workflow({"work": SCRIPT.format(python=sys.executable)}) as workflow:
        study = workflow.work.base
        (study.directory / "doIt.py").write_text(DO_IT)
        execute(workflow, main)
        spans = []
        for file in study.runs_dir.glob("run-*/times"):
            # The last one may not have been written when the workflow ends.
            if words := file.read_text().split():
                before, between, after = map(float, words)
                spans.append(1e3 * ((after - between) - (between - before)))
    figures: list[Figures] = [{"finish to action": delay} for delay in delays]
    figures.append({"finish to action, 99 %": percentile(delays, 0.99)})
    return figures + [{"script": span} for span in spans]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
