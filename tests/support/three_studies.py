"""A workflow of three studies that is killed and started again, and what it leaves at its end.

``draw`` gives values (the second one only when it is asked again), ``square`` computes with
each, ``total`` takes what comes of that. Each script appends a line to a file the moment it
begins: that tells, apart from all databases, what was executed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motoko.columns import TIMES
from motoko.crashpoints import VARIABLE
from motoko.daemon import Office
from motoko.store.audit import problems
from motoko.store.firing import numbers
from motoko.study.study import Study
from motoko.workflow import Workflow, opening
from tests.support.studies import ROOT

RUN_NAME = "only"
STUDIES = ("draw", "square", "total")
#: What differs between two runs of the same workflow.
_VOLATILE = {*TIMES, "id", "job_id", "nonce", "attempt", "files"}

#: What scripts say, apart from all databases, when they begin.
BEGIN = 'echo "$MOTOKO_STUDY.$MOTOKO_RUN_ID $MOTOKO_ATTEMPT" >>../../../executed\n'
#: Some scripts wait until they have lost their launcher and the next one follows them, or have
#: waited for long enough.
_BE_ADOPTED = """
if (( MOTOKO_RUN_ID % 5 == 1 )); then
    : >../../../waiting-$$
    for (( i = 0; i < 100; i++ )); do
        [ -e ../../../adopts ] || break
        said="run draw.$MOTOKO_RUN_ID goes on, process $$"
        [[ $(<../../../.wf/launch.log) == *"$said"* ]] && break
        sleep 0.1
    done
    rm ../../../waiting-$$
fi
"""
#: A script that has lost its launcher goes on once the next one has looked at it.
_MEET_THE_NEXT = """
[[ $(<.motoko-token-$MOTOKO_ATTEMPT) =~ '"launcher": '([0-9]+) ]]
launcher=${BASH_REMATCH[1]}
read -r _ _ _ parent _ <"/proc/$$/stat"
if [ "$parent" != "$launcher" ]; then
    for (( i = 0; i < 300; i++ )); do
        [[ $(<../../../.wf/launcher.lock) == *'"pid": '$launcher,* ]] || break
        sleep 0.1
    done
    sleep 1
fi
"""
_FILES = {
    "motoko.yaml": "task_managers: {draw: , square: , total: }\norchestrator: order.main\n",
    "draw/bd.yaml": """\
study: draw
job: {x: int}
run: {value: float, ready: int, seen: int, again: int}
run_params: {again: 0}
""",
    # One in three takes long enough to lose its launcher.
    "draw/launch.sh": (
        f"{BEGIN}(( MOTOKO_RUN_ID % 3 != 1 )) || sleep 0.5{_BE_ADOPTED}{_MEET_THE_NEXT}"
        "python3 doIt.py\n"
    ),
    "draw/doIt.py": """\
import motoko

run, job = motoko.get_run()
run.pushQuantity([job.x, 2.0 * job.x], 0, "drawn")
run.value = 1.5 * job.x
run.ready = int(job.x != 2 or run.again)
""",
    "square/bd.yaml": "study: square\njob: {x: int, given: float}\nrun: {value: float}\n",
    "square/launch.sh": f"{BEGIN}exec python3 doIt.py\n",
    "square/doIt.py": """\
import motoko

with motoko.running() as (run, job):
    run.value = job.given**2
    run.pushQuantity(job.given, 3, "steps")
""",
    "total/bd.yaml": "study: total\njob: {x: int, given: float}\n",
    "total/launch.sh": f'{BEGIN}echo "__BLACKDYNAMITE__given__" >result\n',
    "order.py": """\
def populate_arg_parser(parser):
    parser.add_argument("--n_values", type=int, default=4)
    parser.add_argument("--retry", action="store_true")


async def main(workflow, n_values, retry, **params):
    workflow.add_action("again", task="draw", event="state = FINISHED and ready = 0", f=again)
    workflow.add_action(
        "go_on", task="draw", event="state = FINISHED and ready = 1", f=go_on, once=True
    )
    workflow.add_action("sum_up", event=all_there, f=sum_up)
    if retry:
        workflow.add_action("retry", event="state = FAILED", f=put_back)
    else:
        workflow.add_error_handler()
    workflow.draw.createTask(x=list(range(1, n_values + 1)))


async def again(workflow, runs, **params):
    for run, job in runs:
        run.again = 1
        run.state = "CREATED"
        workflow.vars.n_again = workflow.vars.get("n_again", 0) + 1


async def go_on(workflow, runs, **params):
    for run, job in runs:
        run.seen = 1
        workflow.square.createTask(x=job.x, given=run.value)
        setattr(workflow.vars, f"drawn_{job.x}", run.value)
    for x in [job.x for run, job in runs]:
        found = workflow.square.select(f"x = {x}")
        await found.all("state = FINISHED")
        [(run, job)] = workflow.square.select(f"x = {x}")
        workflow.total.createTask(x=x, given=run.value)


async def put_back(runs, **params):
    for run, job in runs:
        run.state = "CREATED"


def all_there(workflow, task_manager, n_values=None):
    n_values = len(workflow.draw.select())
    return len(workflow.total.select("state = FINISHED")) == n_values > 0


async def sum_up(workflow, **params):
    workflow.vars.total = sum(job.given for run, job in workflow.total.select())
    workflow.finished = True
""",
}


def write(directory: Path) -> None:
    """Make the workflow's files."""
    for name, text in _FILES.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def start(
    directory: Path, *options: str, output: Path, crash_at: str = ""
) -> subprocess.Popen[bytes]:
    """``motoko run`` in the directory, a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: crash_at}
    command = [sys.executable, "-m", "motoko", "run", "-n", RUN_NAME, *options]
    with open(output, "ab") as file:
        return subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def office_pid(directory: Path, word: str) -> int | None:
    """The process that holds an office of the workflow."""
    owner = Office(directory / ".wf" / f"{word}.lock", word).owner()
    return owner.pid if owner else None


@dataclass
class Ended:
    """What a workflow has left."""

    #: Of each study: runs by what tells their jobs apart, without what may differ.
    rows: dict[str, dict[Hashable, dict[str, Any]]]
    variables: dict[str, Any]
    #: What of it must not be there: open firings, contradictions, lost or doubled runs.
    wrong: list[str]
    #: By run: attempts of infrastructure, and others that ended because of SIGKILL.
    n_lost: Counter[str]
    n_killed: Counter[str]
    #: Those of them that had begun: run and attempt.
    cut_off: set[tuple[str, int]]
    #: How often each attempt was executed, as its script says.
    executed: Counter[tuple[str, int]]


def read(directory: Path) -> Ended:
    """Read what a workflow has left, when nothing of it runs any more."""
    workflow = Workflow(str(directory))
    with closing(workflow):
        opening.open_all(workflow)
        ended = Ended({}, {}, [], Counter(), Counter(), set(), read_executed(directory))
        for name in STUDIES:
            read_study(workflow.task_manager(name).base, ended, lambda job: job["x"])
        with workflow.vars.db.read() as ledger:
            ended.variables = ledger.variables()
            if open_firings := ledger.open_firings(RUN_NAME):
                ended.wrong.append(f"firings without an end: {open_firings}")
            fired = [
                run_id
                for record in ledger.firings().values()
                if record["event"] == "go_on"
                for run_id in numbers(record["runs"])
            ]
            if sorted(fired) != list(range(1, len(ended.rows["draw"]) + 1)):
                ended.wrong.append(f"go_on was fired for {sorted(fired)}")
            if not (ledger.run_name(RUN_NAME) or {}).get("finished"):
                ended.wrong.append("the run name is not finished")
    return ended


def read_executed(directory: Path) -> Counter[tuple[str, int]]:
    """How often each attempt was executed, as its script says."""
    lines = [line.split() for line in (directory / "executed").read_text().splitlines()]
    return Counter((run, int(attempt)) for run, attempt in lines)


def read_study(
    study: Study, ended: Ended, key: Callable[[Mapping[str, Any]], Hashable]
) -> None:
    """Add a study, its runs by what ``key`` says of their jobs."""
    rows = ended.rows[study.name] = {}
    with study.database.read() as tables:
        ended.wrong += problems(tables)
        if tables.n_jobs != tables.n_runs:
            ended.wrong.append(f"{study.name}: {tables.n_jobs} jobs, {tables.n_runs} runs")
        for run_id in tables.run_ids():
            row = tables.run(run_id)
            job = {**tables.job(row["job_id"])}
            job.pop("id")
            rows[key(job)] = {
                **{key: value for key, value in row.items() if key not in _VOLATILE},
                "job": job,
                "quantities": tables.quantities(run_id),
            }
            _check_attempts(f"{study.name}.{run_id}", tables.attempts(run_id), ended)
            title = f"{study.name}.{run_id}"
            n_disturbed = ended.n_lost[title] + ended.n_killed[title]
            rows[key(job)]["attempts"] = row["attempt"] - n_disturbed
            _check_files(study.run_dir(run_id), row, ended)


def _check_attempts(title: str, attempts: list[dict[str, Any]], ended: Ended) -> None:
    """Each attempt was executed one time, but one that was lost may not have begun."""
    known = [attempt["number"] for attempt in attempts]
    if known != list(range(1, len(known) + 1)):
        ended.wrong.append(f"{title} has the attempts {known}")
    for attempt in attempts:
        times = ended.executed[title, attempt["number"]]
        has_failed = attempt["state"] == "FAILED"
        is_lost = has_failed and attempt.get("class") == "infrastructure"
        is_killed = has_failed and not is_lost and attempt.get("exit_code") in (-9, 137)
        ended.n_lost[title] += is_lost
        ended.n_killed[title] += is_killed
        if (is_lost or is_killed) and times > 0:
            ended.cut_off.add((title, attempt["number"]))
        if times > 1 or times < (0 if is_lost or is_killed else 1):
            ended.wrong.append(f"{title}, attempt {attempt['number']}: executed {times} times")
    told = {number for run, number in ended.executed if run == title}
    if not told <= set(known):
        ended.wrong.append(f"{title}: executed {told}, known {known}")


def _check_files(run_dir: Path, row: Mapping[str, Any], ended: Ended) -> None:
    if not (run_dir / str(row["state"])).exists():
        ended.wrong.append(f"{run_dir} lacks the sentinel {row['state']}")
