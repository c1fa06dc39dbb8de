"""What is measured of the existing Motoko, from inside its orchestrator."""

import asyncio
import json
import statistics
import time
from pathlib import Path

from motoko.workflow import event

HERE = Path(__file__).parent
found = {}
delays = []


def populate_arg_parser(parser):
    parser.add_argument("--chain", type=int, required=True)
    parser.add_argument("--fan_out", type=int, required=True)
    parser.add_argument("--creation", type=int, required=True)
    parser.add_argument("--single", type=int, required=True)


@event
async def take(runs, workflow, **params):
    now = time.time()
    for run, _ in runs:
        path = HERE / "work" / "BD-work-runs" / f"run-{run.id}" / "said"
        delays.append(1e3 * (now - float(path.read_text())))
        run.state = "TAKEN"


def select(workflow, constraint, n_times=3):
    times = []
    for _ in range(n_times):
        began = time.perf_counter()
        n_found = len(list(workflow.empty.select(constraint)))
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times), n_found


async def main(workflow, chain, fan_out, creation, single, **params):
    await workflow.work.createTask(x=-1.0)
    began = time.perf_counter()
    for i in range(chain):
        await workflow.work.createTask(x=10.0**6 + i)
    if chain:
        found["chain"] = 1e3 * (time.perf_counter() - began) / chain
    began = time.perf_counter()
    await workflow.work.createTask(x=[float(i) for i in range(fan_out)])
    found["fan_out"] = fan_out / (time.perf_counter() - began)

    began = time.perf_counter()
    workflow.empty.createTask(x=[float(i) for i in range(creation)])
    found["creation"] = creation / (time.perf_counter() - began)
    began = time.perf_counter()
    for i in range(single):
        workflow.empty.createTask(x=-1.0 - i)
    found["single creation"] = single / (time.perf_counter() - began)
    found["select none"], _ = select(workflow, "state = NONE")
    found["select one"], _ = select(workflow, "x = 1.0")
    found["iterate"], n_seen = select(workflow, "state = CREATED", 1)
    found["runs selected from"] = n_seen

    workflow.add_action("take", "work", "state = FINISHED", f=take)
    await taken(1 + chain + fan_out)
    delays.clear()  # these had finished before the action was there
    workflow.work.createTask(x=[-10.0 - i for i in range(3)], commit=True)
    await taken(3)
    end()
    workflow.finished = True


async def taken(n_runs):
    while len(delays) < n_runs:
        await asyncio.sleep(0.1)


def end():
    found["finish to action"] = statistics.median(delays)
    spans = []
    for file in HERE.glob("work/BD-work-runs/*/times"):
        before, between, after = map(float, file.read_text().split())
        spans.append(1e3 * ((after - between) - (between - before)))
    found["script"] = statistics.median(spans)
    (HERE / "found.json").write_text(json.dumps(found))
