"""A workflow of the existing kind, written after its public documentation, for tests."""

from __future__ import annotations

import sys
from pathlib import Path

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


def write_existing_workflow(directory: Path, before: str = "") -> None:
    """Its files; ``before`` is what each script does first."""
    for name, (yaml, program) in STUDIES.items():
        (directory / name).mkdir(parents=True)
        (directory / name / "bd.yaml").write_text(
            f"study: {name}\n{yaml}exec_file: launch.sh\n"
        )
        script = LAUNCH.replace("python3", f"{before}{sys.executable}")
        (directory / name / "launch.sh").write_text(script)
        (directory / name / "doIt.py").write_text(
            "import BlackDynamite as BD\nrun, job = BD.getRunFromScript()\nrun.start()\n"
            f"{program}run.finish()\n"
        )
    (directory / "motoko.yaml").write_text(MOTOKO)
    (directory / "orchestrator.py").write_text(ORCHESTRATOR)
