"""Runs of a pipeline that somebody puts back: what is executed, when, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

pytestmark = pytest.mark.slow

YAML = """\
task_managers: {prepare: , use: }
pipeline:
  systems: {directory: work}
  steps:
    prepare: {run: {t: 0}}
    use: {requires: [prepare]}
    report: {requires: [use], handler: report.write}
"""
PREPARE = """\
echo "__BLACKDYNAMITE__t__" >../../../work/a/prepared
echo "prepared __BLACKDYNAMITE__t__" >>../../../told
"""
USE = """\
value=$(cat ../../../work/a/prepared)
echo "used $value" >>../../../told
[ "$value" != 0 ] || [ -e ../../../all-is-well ]
"""
REPORT = """\
def write(system):
    with open("told", "a") as file:
        file.write(f"reported {system.path('prepared').read_text()}")
"""


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    for name, bd, script in (
        ("prepare", "study: prepare\njob: {system: str}\nrun: {t: int}\n", PREPARE),
        ("use", "study: use\njob: {system: str}\n", USE),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bd.yaml").write_text(bd)
        (tmp_path / name / "launch.sh").write_text(script)
    (tmp_path / "work" / "a").mkdir(parents=True)
    (tmp_path / "motoko.yaml").write_text(YAML)
    (tmp_path / "report.py").write_text(REPORT)
    return CommandLine(tmp_path)


def told(directory: Path) -> list[str]:
    """What scripts and functions have said since the last time."""
    file = directory / "told"
    found = file.read_text().splitlines()
    file.unlink()
    return found


def test_what_is_put_back_is_executed_in_its_order_and_what_is_behind_it_is_done_anew(
    line: CommandLine, tmp_path: Path
) -> None:
    line.run("run", "--run_name", "r", code=5)
    assert told(tmp_path) == ["prepared 0", "used 0"]

    said = line.run("runs", "retry", "prepare.1", "--set", "t=1").stdout
    assert "prepare.1): `motoko run --run_name r` goes through it" in said
    line.run("run", "--run_name", "r", "--retry-failed")
    assert told(tmp_path) == ["prepared 1", "used 1", "reported 1"]

    said = line.run("clean").stdout
    assert "2 runs of a pipeline wait for their steps to begin (prepare.1, use.1)" in said
    assert "waits: it was put back" in line.run("why", "use.1").stdout
    assert "for its step 'use' to begin" in line.run("runs", "show", "use.1").stdout
    assert "use: 1 CREATED run waits for a pipeline" in line.run("info").stdout
    line.run("run", "--run_name", "r")
    assert told(tmp_path) == ["prepared 1", "used 1", "reported 1"]

    line.run("runs", "retry", "prepare.1", "--set", "t=2")
    line.run("run", "--run_name", "r")
    assert told(tmp_path) == ["prepared 2", "used 2", "reported 2"]
    assert [row["run"] for row in line.json("runs", "list", "use")] == ["use.1", "use.2"]


def test_files_say_no_more_that_a_step_is_finished_when_what_it_requires_was_executed_again(
    line: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "all-is-well").touch()
    (tmp_path / "use" / "launch.sh").write_text(f"{USE}touch ../../../work/a/used\n")
    declared = 'sentinels: {directory: ".", success: [[%s]]}'
    text = YAML.replace("{run: {t: 0}}", "{run: {t: 0}, %s}" % (declared % "prepared"))
    text = text.replace(
        "{requires: [prepare]}", "{requires: [prepare], %s}" % (declared % "used")
    )
    (tmp_path / "motoko.yaml").write_text(text)
    line.run("run", "--run_name", "r")
    assert told(tmp_path) == ["prepared 0", "used 0", "reported 0"]

    line.run("runs", "retry", "prepare.1", "--set", "t=1")
    line.run("runs", "retry", "use.1")
    line.run("run", "--run_name", "r")
    assert told(tmp_path) == ["prepared 1", "used 1", "reported 1"]

    line.run("clean")
    line.run("run", "--run_name", "r")
    assert not (tmp_path / "told").exists()  # all is there, and nothing came before it anew


def test_runs_of_an_earlier_value_that_are_put_back_are_told_of_when_the_pipeline_is_through(
    line: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "all-is-well").touch()
    line.run("run", "--run_name", "r")
    (tmp_path / "motoko.yaml").write_text(YAML.replace("t: 0", "t: 1"))
    line.run("run", "--run_name", "r", "--accept-changes")
    line.run("clean")
    told(tmp_path)

    last = line.run("run", "--run_name", "r").stdout.splitlines()[-1]

    assert told(tmp_path) == ["prepared 1", "used 1", "reported 1"]
    assert (
        "; 2 runs are of no present step of a pipeline (prepare.1, use.1),"
        " `motoko why prepare.1`; "
    ) in last
    said = line.run("info").stdout
    assert "use: 1 CREATED run is of no present step of a pipeline, `motoko why use.1`" in said
    assert "r came to its end" in line.run("why", "use.1").stdout
    assert "for its step 'use', which did not ask for it" in (
        line.run("runs", "show", "use.1").stdout
    )
    line.run("runs", "cancel", "use.1", "prepare.1")
    assert "pipeline" not in line.run("run", "--run_name", "r").stdout.splitlines()[-1]


def test_a_run_is_executed_out_of_order_when_somebody_says_so(
    line: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "all-is-well").touch()
    line.run("run", "--run_name", "r")
    told(tmp_path)

    line.run("runs", "retry", "use.1")
    assert "is CREATED already, and waits" in line.run("runs", "retry", "use.1", code=4).stdout
    said = line.run("runs", "retry", "use.1", "--out-of-order").stdout

    assert said == "1 run CREATED again\n"
    assert not line.json("runs", "show", "use.1")["entries"].get("awaits_step")
