"""A workflow of the existing kind, written after its public documentation, and the commands
that people type for it."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.bd_study import create_bd_studies, create_bd_study
from motoko.scripts import create_studies
from motoko.workflow import Workflow
from tests.support.command_line import CommandLine
from tests.support.processes import kill_processes_of
from tests.support.waiting import wait_until

MOTOKO = """\
task_managers:
  mult:
  add:
  norm:
aliases:
  post: norm
orchestrator: orchestrator.main
generator: bashCoat
slurm_options: [nodes=1, time=00:10:00]
my_threshold: 7
"""
ORCHESTRATOR = """\
from motoko.workflow import event


def populate_arg_parser(parser):
    parser.add_argument("--inputs", "-i", type=float, required=True, nargs=2)


@event
async def spawn_mult(workflow, **kwargs):
    created = workflow.mult.createTask(x=kwargs["inputs"], more={"deep": {"b": 2}})
    assert len(created) == 2 and workflow.mult.createTask(x=[]) == []


@event
async def spawn_add(runs=None, workflow=None, **kwargs):
    for run, job in runs:
        created = workflow.add.createTask(x=run.y, run_params={"origin": job.id})
        run.state = "FORWARDED"
        run.dependencies = [f"add.{r.id}" for r, j in created]


def ready(workflow, task_manager):
    if len(workflow.mult.select([])) != 2 or workflow.mult.select(["state != FORWARDED"]):
        return False
    if workflow.add.select("state != FINISHED") or len(workflow.add.select()) != 2:
        return False
    return not workflow.norm.select([])


@event
async def spawn_norm(workflow, **kwargs):
    assert workflow.config["my_threshold"] == 7
    workflow.post.createTask(mult_ids=[r.id for r, j in workflow.mult.select([])])


@event
async def finish(workflow, runs, **kwargs):
    [(run, job)] = runs
    workflow.vars.total = run.total
    workflow.finished = True


async def main(workflow, **params):
    workflow.add_action("start", event=lambda: not workflow.mult.base.runs, f=spawn_mult)
    workflow.add_action("forward", task="mult", event=["runs.id < 3", "state = FINISHED"],
                        f=spawn_add)
    workflow.add_action("need_norm", event=ready, f=spawn_norm)
    workflow.add_action("end", task="norm", event="state = FINISHED", f=finish)
    workflow.add_error_handler()
"""
LAUNCH = '#!/bin/csh -f\npython3 doIt.py\ncanYouDigIt runs update --truerun note = "done"\n'
STUDIES = {
    "mult": (
        "job: {x: float, more: dict}\nrun: {}\n"
        "job_space: {x: 1.0, more: {a: 1, deep: {c: 3}}}\n",
        "assert job.more == {'a': 1, 'deep': {'c': 3, 'b': 2}}\nrun.y = 2 * job.x\n",
    ),
    "add": (
        "job: {x: float}\nrun: {origin: int}\n",
        "run.y = job.x + 1\nrun.pushQuantity([run.y, 1], 3, 'vec')\n",
    ),
    "norm": (
        "job: {mult_ids: list}\nrun:\n",
        """\
from motoko.workflow import Workflow
wf = Workflow(run.workflow)
total = 0
for number in job.mult_ids:
    names = wf.mult.connect().runs[number].dependencies
    for add in wf.get_runs(names)["add"]:
        total += add.y
        assert add.getQuantity("vec").values.tolist() == [[3, add.y, 1]]
run.total = total
""",
    ),
}


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    directory = tmp_path / "w"
    for name, (yaml, program) in STUDIES.items():
        (directory / name).mkdir(parents=True)
        (directory / name / "bd.yaml").write_text(
            f"study: {name}\n{yaml}exec_file: launch.sh\n"
        )
        (directory / name / "launch.sh").write_text(LAUNCH.replace("python3", sys.executable))
        (directory / name / "doIt.py").write_text(
            "import BlackDynamite as BD\nrun, job = BD.getRunFromScript()\nrun.start()\n"
            f"{program}run.finish()\n"
        )
    (directory / "motoko.yaml").write_text(MOTOKO)
    (directory / "orchestrator.py").write_text(ORCHESTRATOR)
    yield CommandLine(directory)
    kill_processes_of(tmp_path)


@pytest.mark.slow
def test_existing_workflow_runs_by_the_habitual_commands(line: CommandLine) -> None:
    CommandLine(line.directory.parent).run("create", "w", "--validated")
    line.run("launcher", "--generator", "bashCoat")
    assert "--inputs" in line.run("orchestrator", "start", "--help").stdout

    line.run("orchestrator", "start", "-n", "test", "--wait", "1", "-i", "2.1", "3.2")

    info = line.json("info")["studies"]
    totals = {study["study"]: study["total"] for study in info}
    assert totals == {"mult": {"FORWARDED": 2}, "add": {"FINISHED": 2}, "norm": {"FINISHED": 1}}
    total = line.run("bd", "info", code=4)  # not in a study
    assert "no .bd" in total.stderr
    study = CommandLine(line.directory / "norm")
    assert "12.6" in study.run("bd", "runs", "info", "--infos", "id,total,note").stdout
    assert "2" in line.run("info", "-bd", "mult", "--verbose").stdout
    clean = ("clean", "--bd_study", "norm", "--constraints", "state = FINISHED")
    # who says that all is finished is not the script, which may still end
    wait_until(lambda: "1 run back to CREATED" in line.run(*clean).stdout, "its end")
    line.run("kill")
    line.run("kill", "--bd_study", "mult", "--reset", "--aggressive")
    line.run("kill", "--reset", "--aggressive")  # what was put back may execute again
    line.run("clean", "--delete", "--validated")
    assert not list(line.directory.glob("*/.bd"))


@pytest.mark.slow
def test_detached_orchestrator_is_looked_at_and_stopped(line: CommandLine) -> None:
    line.run("create", ".", "--validated")
    (line.directory / "orchestrator.py").write_text(
        ORCHESTRATOR.replace("workflow.finished = True", "pass")
    )
    line.run("orchestrator", "start", "--run_name", "a", "-d", "--inputs", "1", "2")

    wait_until(lambda: line.counts("norm").get("FINISHED") == 1, "the last run")
    assert "forward" in line.run("orchestrator", "status", "-l").stdout
    line.run("orchestrator", "stop")
    line.run("launcher", "-l")
    line.run("kill")


def test_helper_modules_make_studies(line: CommandLine) -> None:
    create_studies.main(Namespace(directory=str(line.directory), validated=True))
    workflow = Workflow(str(line.directory))
    try:
        create_bd_studies(workflow)
        workflow.run_name = "a"
        assert workflow.mult.createTask(x=1.0)[0][0].id == 1
        create_bd_study(workflow.mult)
        assert len(workflow.mult.base.runs) == 0 and workflow.norm.base.is_created
    finally:
        workflow.close()
