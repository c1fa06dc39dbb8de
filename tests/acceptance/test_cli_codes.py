"""Commands end with the documented codes, and say in one sentence why."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.command_line import ROOT, CommandLine, new_workflow


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        yield line


@pytest.mark.slow
def test_unknown_generator_is_a_mistake_before_anything_starts(here: CommandLine) -> None:
    for command in (("run",), ("launcher",)):
        done = here.run(*command, "--generator", "foo", code=3)

        known = "bash, dask, pbs, sge, slurm"
        assert done.stderr == f"motoko: unknown generator 'foo' (known: {known})\n"
    assert not (here.directory / ".wf").exists()


@pytest.mark.slow
def test_file_that_is_no_database_is_named_by_every_command(here: CommandLine) -> None:
    here.run("create")
    file = here.directory / "sample" / ".bd" / "motoko.db"
    file.write_bytes(b"junk" * 1000)
    why = f"{file}: is no database, or its beginning is damaged; `motoko repair` rebuilds it"

    for command in (("run",), ("runs", "list", "sample"), ("server", "start")):
        said = here.run(*command, code=7).stderr

        assert why in said
        assert said.count("motoko: ") == 1
        assert len(said.splitlines()) == 1
    info = here.run("info", code=7)
    assert f"sample: {why}" in info.stdout
    assert "`motoko backup --restore PATH` puts a copy back" in info.stdout
    assert info.stderr == ""
    here.run("repair")
    here.run("info")
    ledger = here.directory / ".wf" / "wf.db"
    ledger.write_text("garbage\n")
    of_workflow = here.run("info", code=7).stdout
    assert f"trouble: {ledger}: ends at byte 8, though it had" in of_workflow
    assert of_workflow.count(str(ledger)) == 1


@pytest.mark.slow
def test_what_does_not_exist_has_one_code(here: CommandLine) -> None:
    for command in (
        ("runs", "list", "zz"),
        ("runs", "show", "zz.1"),
        ("export", "zz", "--csv=-"),
        ("archive", "zz"),
        ("du", "zz"),
        ("runs", "cancel", "zz.1"),
        ("runs", "delete", "zz"),
    ):
        assert "no task manager or attribute 'zz'" in here.run(*command, code=4).stderr
    here.run("create")

    for command in (
        ("runs", "list", "zz"),
        ("runs", "show", "zz.1"),
        ("runs", "show", "sample.1"),
        ("clean", "-bd", "zz"),
        ("info", "nowhere"),
    ):
        here.run(*command, code=4)


def test_seconds_that_are_none_are_a_usage_error(here: CommandLine) -> None:
    assert "-1 is not a number of seconds" in here.run("run", "--wait", "-1", code=2).stderr


def test_stopping_an_orchestrator_where_none_runs(here: CommandLine) -> None:
    done = here.run("orchestrator", "stop", code=6)

    assert done.stderr == "motoko: the orchestrator is not running\n"


@pytest.mark.slow
def test_orchestrator_that_exits_when_loaded_is_a_mistake(here: CommandLine) -> None:
    file = here.directory / "orchestrator.py"
    file.write_text(f"import sys\nsys.exit(0)\n{file.read_text()}")
    said = (
        f"motoko: {file}:2: cannot load orchestrator 'orchestrator.main': it calls sys.exit(0)"
    )

    for command in (("run",), ("orchestrator", "start", "-n", "a", "-d")):
        assert here.run(*command, code=3).stderr == f"{said} when loaded\n"
    [finding] = [f for f in here.json("check", code=3) if f["about"] == "orchestrator"]
    assert "it calls sys.exit(0) when loaded" in finding["text"]


def test_orchestrator_that_cannot_be_called_is_a_mistake(here: CommandLine) -> None:
    file = here.directory / "orchestrator.py"
    file.write_text(file.read_text().replace("main(workflow, n_samples, **params)", "main()"))
    line = file.read_text().splitlines().index("async def main():") + 1

    for command in (("run",), ("orchestrator", "start", "-n", "a", "-d")):
        said = here.run(*command, code=3).stderr

        assert f"{file}:{line}: cannot load orchestrator 'orchestrator.main'" in said
        assert (
            "its signature is main(), and it is called as main(workflow, n_samples=...)" in said
        )
    assert not (here.directory / ".wf").exists()


def test_empty_run_name_is_refused(here: CommandLine) -> None:
    for command in (("run",), ("orchestrator", "start")):
        for name in ("", " "):
            said = here.run(*command, "--run_name", name, code=3).stderr

            assert "is no run name" in said
    assert not (here.directory / ".wf").exists()


@pytest.mark.slow
def test_unknown_run_name_is_not_found(here: CommandLine) -> None:
    here.run("run", "-n", "first")

    assert here.json("info", "--run_name", "first")["studies"][0]["total"] == {"FINISHED": 5}
    assert "no run name 'nosuch'" in here.run("info", "--run_name", "nosuch", code=4).stderr


@pytest.mark.slow
def test_closed_output_is_like_a_reader_that_has_gone(here: CommandLine) -> None:
    here.run("create")

    for redirection, code in ((">&-", 141), ("2>&-", 0), ("<&- 2>&-", 0), (">&- 2>&-", 141)):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m motoko info {redirection}"],
            cwd=here.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert (done.returncode, done.stderr) == (code, ""), redirection


@pytest.mark.slow
def test_text_given_to_sys_exit_is_shown(here: CommandLine) -> None:
    file = here.directory / "orchestrator.py"
    main = "import sys\nasync def main(workflow, **params):\n    "
    for text in (
        f"{main}sys.exit('no mesh is fine enough')\n",
        f"{main}workflow.add_action('a', event=lambda: True, f=stop)\n"
        "async def stop(**params):\n    sys.exit('no mesh is fine enough')\n",
    ):
        file.write_text(text)

        done = here.run("run", code=1)

        assert done.stderr.startswith("motoko: no mesh is fine enough\n")
        assert "ended with exit code 1" in done.stdout


@pytest.mark.slow
def test_sys_exit_without_a_code_is_success(here: CommandLine) -> None:
    file = here.directory / "orchestrator.py"
    file.write_text("import sys\nasync def main(workflow, **params):\n    sys.exit()\n")

    here.run("run")


@pytest.mark.slow
def test_clean_applies_constraints_where_their_names_are_known(here: CommandLine) -> None:
    here.run("run", "-n", "a")

    cleaned = here.run("clean", "--constraints", "seed = 2").stdout
    refused = here.run("clean", "-bd", "mean", "--constraints", "seed = 2", code=3).stderr
    nowhere = here.run("clean", "--constraints", "nix = 2", code=3).stderr

    assert "1 run back to CREATED" in cleaned
    assert here.counts("sample") == {"CREATED": 1, "FINISHED": 4}
    assert here.counts("mean") == {"FINISHED": 1}
    assert "unknown name 'seed'" in refused and "in study mean" in refused
    assert "unknown name 'nix'" in nowhere


@pytest.mark.slow
def test_name_of_a_run_has_one_form(here: CommandLine) -> None:
    here.run("create")

    for name in ("sample.\u00b2", "sample", "sample."):
        assert "does not name a run" in here.run("runs", "show", name, code=3).stderr


@pytest.mark.slow
def test_silent_server_is_named_for_each_study_and_waited_for_once(here: CommandLine) -> None:
    here.run("server", "start")
    pid = here.pid("server")
    assert pid is not None
    server = psutil.Process(pid)
    server.suspend()
    try:
        done = here.run("info", code=7)
    finally:
        server.resume()

    assert f"server        process {server.pid}" in done.stdout
    for study in ("sample", "mean"):
        assert f"{study}: database of {study} at " in done.stdout


@pytest.mark.slow
def test_current_directory_that_was_removed_is_named(here: CommandLine) -> None:
    for command in (("info",), ("info", "demo"), ("ps",), ("new", "demo")):
        gone = here.directory / "gone"
        gone.mkdir()
        script = f'rmdir "$PWD"; exec {shlex.quote(sys.executable)} -m motoko "$@"'
        done = subprocess.run(
            ["bash", "-c", script, "bash", *command], cwd=gone, capture_output=True, text=True
        )

        assert done.returncode in (0, 4, 9), done.stderr
        assert "bug in Motoko" not in done.stderr
        if command == ("info",):
            assert done.returncode == 9
            assert done.stderr == (
                "motoko: the current directory was removed; go to another one, as with `cd`\n"
            )
