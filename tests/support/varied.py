"""A workflow whose runs have ended in different ways, for tests that damage its databases."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko.model import states
from motoko.store.server import Server
from motoko.store.tables import Tables
from motoko.workflow import Workflow, control
from motoko.workflow.whereabouts import RECORD
from tests.support.command_line import CommandLine, new_workflow
from tests.support.waiting import wait_until

STUDY = "calc"
N_LAUNCHED = 8
#: One of them is launched twice.
N_ATTEMPTS = N_LAUNCHED + 1
N_CREATED = 3
LIMITS = (1, {"b": 2.5})

_FILES = {
    "motoko.yaml": "task_managers:\n  calc:\norchestrator: orchestrator.main\n",
    "orchestrator.py": """\
async def again(runs, workflow, **params):
    for run, job in runs:
        run.state = "CREATED"
    workflow.vars.n_again = len(runs)


async def main(workflow, **params):
    workflow.vars.answer = 42
    workflow.add_action("again", "calc", ["state = FAILED", "x = 3"], f=again, once=True)
    more = {"method": "exact", "limits": (1, {"b": 2.5})}
    await workflow.calc.createTask(x=range(1, 9), run_params=more)
""",
    "calc/bd.yaml": """\
study: calc
job: {x: int, s: {type: str, default: "a b"}}
run: {y: float, method: str, walltime: str}
""",
    "calc/launch.sh": "#!/bin/bash\npython3 doIt.py\n",
    "calc/doIt.py": """\
import sys
import motoko

run, job = motoko.get_run()
run.start()
run.y = job.x / 7
run.push_quantity([job.x / 3, 1.0], 1, "pair")
run.push_quantity([job.x / 9, 2.0], 2, "pair")
if job.x == 4:
    run.fail("it is four")
elif job.x == 5 or (job.x == 3 and run.attempt == 1):
    print("gone wrong", file=sys.stderr)
    sys.exit(3)
else:
    run.note = {"of": job.x}
    run.finish()
""",
}


@pytest.fixture(scope="module")
def varied_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs that finished, failed and were launched twice, and some that never were."""
    directory = tmp_path_factory.mktemp("varied") / "w"
    with new_workflow(directory) as here:
        for name in ("sample", "mean"):
            shutil.rmtree(directory / name)
        for name, text in _FILES.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(text)
        here.run("launcher", "start")
        here.run("run", "--run_name", "first", code=5)
        wait_until(lambda: _have_ended(directory), "the ends of all scripts")
        here.run("kill")
        with changed(directory) as workflow:
            create_more(workflow)
        yield directory


def _have_ended(directory: Path) -> bool:
    """Whether the database knows the exit codes of all attempts."""
    workflow = Workflow(str(directory))
    study = workflow.task_manager(STUDY).base
    study.database.open_file(study.database_file)
    try:
        with study.database.read() as tables:
            attempts = [a for run_id in tables.run_ids() for a in tables.attempts(run_id)]
        return len(attempts) == N_ATTEMPTS and all("exit_code" in a for a in attempts)
    finally:
        workflow.close()


def create_more(workflow: Workflow) -> list[int]:
    """Make sure that the runs are there that nobody launches."""
    study = workflow.task_manager(STUDY).base
    space = {"x": list(range(100, 100 + N_CREATED))}
    return study.create_tasks(space, {"method": "late"}, run_name="first", event_name="main")


def create_again(workflow: Workflow) -> list[int]:
    """The runs that the orchestrator has made, asked for again."""
    study = workflow.task_manager(STUDY).base
    params = {"method": "exact", "limits": LIMITS}
    space = {"x": list(range(1, 1 + N_LAUNCHED))}
    return study.create_tasks(space, params, run_name="first", event_name="main")


class changed:
    """The workflow in a directory, its databases served meanwhile."""

    def __init__(self, directory: Path) -> None:
        self._workflow = Workflow(str(directory))

    def __enter__(self) -> Workflow:
        self._server = Server(control.served(self._workflow))
        self._server.start()
        self._workflow.initialise()
        return self._workflow

    def __exit__(self, *_: object) -> None:
        self._workflow.close()
        self._server.close()


def copied(source: Path, target: Path) -> CommandLine:
    """A copy of the workflow that does not know to be one; sockets are left out."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, symlinks=True, ignore=_sockets)
    return CommandLine(target)


def _sockets(directory: Any, names: list[str]) -> list[str]:
    return [n for n in names if n == RECORD or Path(directory, n).is_socket()]


def picture(directory: Path) -> dict[int, Any]:
    """What the database has of runs that have ended, without times that differ by a little."""
    workflow = Workflow(str(directory))
    study = workflow.task_manager(STUDY).base
    study.database.open_file(study.database_file)
    try:
        with study.database.read() as tables:
            return {
                run_id: _of_run(tables, run_id)
                for run_id in tables.run_ids()
                if states.is_over(tables.run(run_id)["state"])
            }
    finally:
        workflow.close()


def _of_run(tables: Tables, run_id: int) -> Any:
    row = dict(tables.run(run_id))
    job = dict(tables.job(row["job_id"]))
    assert row.pop("start_time") <= row.pop("end_time")
    exact = ("number", "nonce", "state", "host", "exit_code", "class", "cause", "stderr")
    attempts = [{k: a.get(k) for k in (*exact, "folded")} for a in tables.attempts(run_id)]
    return row, job, attempts, tables.quantities(run_id), tables.task_mark(run_id)


def run_dirs(directory: Path) -> dict[str, tuple[bytes, int]]:
    """All files in run directories, with their content and their time."""
    files = [p for p in (directory / STUDY / f"BD-{STUDY}-runs").rglob("*") if p.is_file()]
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}
