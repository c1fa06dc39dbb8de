"""A workflow of the existing kind and the commands that people type for it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.bd_study import create_bd_studies, create_bd_study
from motoko.scripts import create_studies
from motoko.workflow import Workflow
from tests.support.command_line import CommandLine
from tests.support.existing_workflow import ORCHESTRATOR, write_existing_workflow
from tests.support.processes import kill_processes_of
from tests.support.waiting import wait_until


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    write_existing_workflow(tmp_path / "w")
    yield CommandLine(tmp_path / "w")
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
    assert "forward" in (line.directory / ".wf" / "wf.log").read_text()
    line.run("orchestrator", "stop")
    line.run("launcher", "-l")
    line.run("kill")


@pytest.mark.slow
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
