"""Server and launcher import what they need beside the command that starts them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.paths import LAUNCHER_LOG, SERVER_LOG
from tests.support.command_line import CommandLine, new_workflow
from tests.support.processes import kill_processes_of, processes_of, wait_for

DEADLINE_S = 60.0
EACH_IMPORT = {"PYTHONPROFILEIMPORTTIME": "1"}
LOGS = {"server": SERVER_LOG, "launcher": LAUNCHER_LOG}


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "new") as found:
        yield found


def ended(line: CommandLine, *arguments: str, **variables: str) -> str:
    with line.started(*arguments, **variables) as process:
        said, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    return said


def check_early(directory: Path) -> None:
    """What they print before they are told what to do goes nowhere; Python was to print
    each import."""
    for kind, name in LOGS.items():
        lines = (directory / ".wf" / name).read_text().splitlines()
        imported = [line for line in lines if line.startswith("import time")]
        assert imported, f"none at all: has Python other words for it? {lines}"
        assert not [line for line in imported if "motoko" in line], kind


@pytest.mark.parametrize("options", [(), ("--clean-failures", "-n", "first")])
def test_they_import_next_to_nothing_once_they_are_told_what_to_do(
    line: CommandLine, options: tuple[str, ...]
) -> None:
    if options:
        line.run("create")  # whose failures are there to be cleaned
    ended(CommandLine(line.directory.parent), "run", *options, "new", **EACH_IMPORT)

    check_early(line.directory)


def test_so_it_is_with_a_study_that_is_no_workflow(line: CommandLine) -> None:
    (study, *_) = (file.parent for file in line.directory.glob("*/bd.yaml"))
    alone = CommandLine(line.directory.with_name("alone"))
    shutil.copytree(study, alone.directory, dirs_exist_ok=True)
    try:
        ended(alone, "launcher", **EACH_IMPORT)
    finally:
        kill_processes_of(alone.directory)

    check_early(alone.directory)


def test_what_the_orchestrator_sets_when_it_is_loaded_holds_for_runs(line: CommandLine) -> None:
    """The launcher, which runs have it from, is started before it is loaded."""
    orchestrator = line.directory / "orchestrator.py"
    orchestrator.write_text(
        f"import os\nos.environ['SOME_THREADS'] = '7'\n{orchestrator.read_text()}"
    )
    for launch in line.directory.glob("*/launch.sh"):
        first, _, rest = launch.read_text().partition("\n")
        launch.write_text(f"{first}\necho $SOME_THREADS >>{line.directory}/seen\n{rest}")

    ended(line, "run")

    assert set((line.directory / "seen").read_text().split()) == {"7"}


def test_none_is_left_of_a_command_that_is_killed_before_it_starts_them(
    line: CommandLine,
) -> None:
    orchestrator = line.directory / "orchestrator.py"
    orchestrator.write_text(
        f"open('loaded', 'w')\nwhile True:\n    pass\n{orchestrator.read_text()}"
    )
    with line.started("run") as process:
        wait_for((line.directory / "loaded").exists, DEADLINE_S)
        early = [p for p in processes_of(line.directory) if p.pid != process.pid]
        assert {p.cmdline()[3] for p in early} == {"server", "launcher"}
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

        wait_for(lambda: not processes_of(line.directory), DEADLINE_S)
    assert not (line.directory / ".wf").exists()


def test_a_word_may_be_no_path_at_all(line: CommandLine) -> None:
    """As values of the orchestrator's own options are."""
    orchestrator = line.directory / "orchestrator.py"
    orchestrator.write_text(
        orchestrator.read_text()
        + "\nothers = populate_arg_parser\n"
        + "def populate_arg_parser(parser):\n"
        + "    others(parser)\n"
        + "    parser.add_argument('--text')\n"
    )

    ended(line, "run", "--text", "x" * 5000)


def test_what_runs_already_is_not_started_early(line: CommandLine) -> None:
    ended(line, "launcher")
    pids = line.pid("server"), line.pid("launcher")
    orchestrator = line.directory / "orchestrator.py"
    orchestrator.write_text(
        f"open('loaded', 'w')\nwhile True:\n    pass\n{orchestrator.read_text()}"
    )
    with line.started("run") as process:
        wait_for((line.directory / "loaded").exists, DEADLINE_S)
        assert {p.pid for p in processes_of(line.directory)} == {*pids, process.pid}
