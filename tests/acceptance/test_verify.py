"""``motoko verify`` finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motoko.store.server import Server
from motoko.workflow import Workflow, control
from tests.support.command_line import CommandLine, new_workflow
from tests.support.finished import finished_once, here
from tests.support.waiting import wait_until

__all__ = ["finished_once", "here"]
PART = {"operations": [], "ids": [], "before": [], "made": [], "decided": 1.0}
WAITS = """\
#!/bin/bash
while [ ! -e "../../../go" ]; do sleep 0.02; done
"""


def found(here: CommandLine) -> list[str]:
    """The findings, each with its advice in a line."""
    answer = here.json("verify", code=10)
    assert answer["checked"]
    return [f"{f['where']}: {f['what']} -- {f['advice']}" for f in answer["findings"]]


def run_dir(here: CommandLine, run_id: int = 1) -> Path:
    return here.directory / f"sample/BD-sample-runs/run-{run_id}"


def test_what_is_in_order_gives_no_findings(here: CommandLine) -> None:
    lines = here.run("verify").stdout.splitlines()

    assert lines[-1] == "no findings"
    assert "checked sample: 5 runs, 5 jobs, their indexes, groups and counters" in lines


@pytest.mark.slow
def test_it_works_beside_a_server_and_a_launcher(here: CommandLine) -> None:
    here.run("launcher", "start")
    try:
        assert here.run("verify").stdout.endswith("no findings\n")
    finally:
        here.run("kill")


def test_it_changes_nothing(here: CommandLine) -> None:
    def picture() -> dict[str, tuple[int, int]]:
        files = [p for p in here.directory.rglob("*") if p.is_file()]
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}

    before = picture()
    here.run("verify")

    assert picture() == before


def test_a_run_directory_that_is_gone(here: CommandLine) -> None:
    shutil.rmtree(run_dir(here, 2))

    [finding] = found(here)

    assert finding.startswith("sample: run 2: the database has results, and the run directory")
    assert "motoko clean" in finding


def test_a_run_directory_without_a_run(here: CommandLine) -> None:
    shutil.copytree(run_dir(here), run_dir(here, 9))

    [finding] = found(here)

    assert "run 9: there is a run directory, and the database has no such run" in finding
    assert "motoko repair" in finding


@pytest.mark.slow
def test_runs_that_were_deleted_on_purpose_are_no_finding(here: CommandLine) -> None:
    here.run("runs", "delete", "mean.1")

    assert here.run("verify").stdout.endswith("no findings\n")


def test_a_run_directory_of_another_database(here: CommandLine) -> None:
    file = run_dir(here) / ".motoko-run.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, "generation": "another"}))

    [finding] = found(here)

    assert "run 1: the run directory was made for another database" in finding


def test_a_token_of_another_database(here: CommandLine) -> None:
    file = run_dir(here) / ".motoko-token-1"
    file.write_text(file.read_text().replace('"generation": "', '"generation": "x'))

    [finding] = found(here)

    assert "run 1: the run directory was made for another database" in finding


def test_a_stored_file_that_is_damaged_or_lost(here: CommandLine) -> None:
    damaged, lost = sorted((here.directory / "sample/.bd/files").iterdir())
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes() + b"#")
    lost.unlink()

    findings = found(here)

    assert len(findings) == 2
    assert any(damaged.name[:12] in f and "is damaged" in f for f in findings)
    assert any(lost.name[:12] in f and "is lost" in f for f in findings)


def test_a_database_file_with_a_damaged_end(here: CommandLine) -> None:
    file = here.directory / "sample/.bd/motoko.db"
    os.truncate(file, file.stat().st_size - 11)

    findings = found(here)

    assert findings[0].startswith("sample/.bd/motoko.db: is damaged at byte ")
    assert "motoko repair" in findings[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sample/.bd/motoko.db", ".wf/wf.db"])
@pytest.mark.parametrize("how", ["gone", "overwritten"])
def test_a_database_that_cannot_be_read(here: CommandLine, name: str, how: str) -> None:
    if how == "gone":
        (here.directory / name).unlink()
    else:
        (here.directory / name).write_bytes(b"nothing of the kind" * 100)

    findings = found(here)

    assert findings[0].startswith(f"{name}: ")
    assert "motoko repair" in findings[0]


def tampered(here: CommandLine, change: Callable[[Any], object], study: str | None) -> None:
    workflow = Workflow(str(here.directory))
    server = Server(control.served(workflow))
    server.start()
    try:
        base = workflow.vars.db if study is None else workflow.task_manager(study).base.database
        base.write(change)
    finally:
        workflow.close()
        server.close()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: t.trees["counts"][1].change(1), "the counter of"),
        (lambda t: t.trees["by_group"].clear(), "is missing in its group"),
        (lambda t: t.trees["tasks"].clear(), "the index of tasks differs"),
        (lambda t: t.trees["job_ids"].clear(), "is not found by its values"),
        (lambda t: t.trees["jobs"].pop(1), "which is not there"),
        (lambda t: t.trees["last"].update({"run": 1}), "the last id is said to be 1"),
        (lambda t: t.trees["manifests"].clear(), "files that nothing is known of"),
        (lambda t: t.trees["attempts"].update({77: b"[]"}), "the attempts of run 77"),
    ],
)
def test_a_study_that_contradicts_itself(
    here: CommandLine, change: Callable[[Any], object], what: str
) -> None:
    tampered(here, change, "sample")

    assert any(f.startswith("sample: ") and what in f for f in found(here))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda v: v.trees["open"].insert("unknown"), "the index of open firings"),
        (lambda v: v.trees["fired"].update({"x": "unknown"}), "is said to have fired"),
        (
            lambda v: v.set_commit("1-a", {"sample": PART}),
            "the commit 1-a has not reached sample",
        ),
    ],
)
def test_a_workflows_database_that_contradicts_itself(
    here: CommandLine, change: Callable[[Any], object], what: str
) -> None:
    tampered(here, change, None)

    assert any(f.startswith("workflow: ") and what in f for f in found(here))


@pytest.mark.slow
def test_a_run_that_ended_while_nobody_looked(tmp_path: Path) -> None:
    with new_workflow(tmp_path / "demo") as here:
        (here.directory / "sample/launch.sh").write_text(WAITS)
        with here.started("run"):
            here.wait_for_script("sample")
            here.run("kill")  # what executes goes on
        assert here.run("verify").stdout.endswith("no findings\n")

        (here.directory / "go").touch()
        outcomes = "sample/BD-sample-runs/*/.motoko-outcome-1"
        wait_until(lambda: any(here.directory.glob(outcomes)), "the end of a script")
        [finding] = found(here)

        assert "ended, and the database does not know" in finding
        assert "motoko launcher start" in finding


def test_a_run_that_finished_against_its_own_sentinel_is_found(here: CommandLine) -> None:
    facts = json.loads((run_dir(here) / ".motoko-run.json").read_text())
    (run_dir(here) / "FINISHED").unlink()
    (run_dir(here) / "FAILED").write_text(json.dumps({"nonce": facts["nonce"]}) + "\n")

    [finding] = found(here)

    assert "run 1: the database says that it finished, and its sentinel FAILED that" in finding
    assert "motoko runs retry" in finding
