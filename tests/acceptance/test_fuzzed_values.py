"""Whatever is typed on the command line: a message, never a traceback, nothing outside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from motoko.cli.program import program
from motoko.errors import WorkflowError
from motoko.job import layout
from motoko.task_manager import check_run_name
from motoko.workflow import Workflow, control
from tests.support.command_line import ROOT, CommandLine, new_workflow
from tests.support.effort import examples

#: What has broken programs before.
NASTY = [
    "",
    " ",
    ".",
    "..",
    "../../x",
    "/etc/passwd",
    "~",
    "-",
    "--",
    "-x",
    "--set",
    "\n",
    "a\nb",
    "\r\x1b[31mred",
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "a|b>c<d&e",
    "%s%n{0}{x}",
    "*",
    "[red]x[/red]",
    "[/]",
    "\\",
    "é中😀",
    "\u202eabc",
    "\udcff\udc80",
    "x" * 5000,
    "x/" * 3000,
    "sample.",
    "sample.0",
    "sample.-1",
    "sample.1-",
    "sample.9" + "9" * 400,
    "sample.1_0",
    "sample.١",
    "=",
    "==",
    "=1",
    "value=",
    "value=nan",
    "value=1e999",
    "value = ",
    "value < 1e999",
    "seed = 99999999999999999999999999",
    "state = " + "(" * 500,
    "((((" * 200,
    "not " * 500,
    "seed in " + "[" * 300,
    "state=FINISHED",
    "__import__('os').system('touch pwned')",
]


def can_be_typed(word: str) -> bool:
    """Whether a process can have it as an argument."""
    try:
        return b"\0" not in os.fsencode(word)
    except UnicodeEncodeError:
        return False


WORDS = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=30),
    st.binary(max_size=20).map(os.fsdecode),
    st.text("sampled.0123456789=<>()[]'\"!& ,-_", max_size=25),
).filter(can_be_typed)
#: Commands with places for two words.
COMMANDS = [
    ("{0}",),
    ("{0}", "{1}"),
    ("check", "{0}"),
    ("verify", "{0}"),
    ("info", "{0}"),
    ("info", "--run_name", "{0}"),
    ("info", "-bd", "{0}", "--events"),
    ("info", "--limit", "{0}"),
    ("schema", "{0}", "{1}"),
    ("schema", "workflow", "{0}"),
    ("server", "status", "{0}"),
    ("launcher", "status", "{0}"),
    ("orchestrator", "status", "{0}"),
    ("orchestrator", "stop", "-n", "{0}"),
    ("backup", "--restore", "{0}"),
    ("repair", ".", "{0}"),
    ("why", "{0}"),
    ("why", "{0}", "--run_name", "{1}"),
    ("why", "--dir", "{0}", "sample.1"),
    ("runs", "{0}"),
    ("runs", "list", "{0}"),
    ("runs", "list", "{0}", "{1}"),
    ("runs", "list", "sample", "{0}"),
    ("runs", "list", "sample", "{0}", "{1}"),
    ("runs", "list", "sample", "{0}", "--json"),
    ("runs", "list", "sample", "--run_name", "{0}"),
    ("runs", "list", "sample", "--limit", "{0}"),
    ("runs", "list", "sample", "--dir", "{0}"),
    ("runs", "list", "sample", "seed = {0}"),
    ("runs", "list", "sample", "run_name = {0}"),
    ("runs", "list", "sample", "run_name = '{0}'"),
    ("runs", "show", "{0}"),
    ("runs", "show", "sample.{0}"),
    ("runs", "retry", "{0}"),
    ("runs", "retry", "sample", "{0}"),
    ("runs", "retry", "sample.1", "--set", "{0}"),
    ("runs", "retry", "sample.1", "--set", "seed={0}"),
    ("runs", "retry", "sample.1", "--set", "{0}=1"),
    ("runs", "update", "{0}", "value=1"),
    ("runs", "update", "sample.1", "{0}"),
    ("runs", "update", "sample.1", "value={0}"),
    ("runs", "update", "sample.1", "state={0}"),
    ("runs", "update", "sample.1", "note={0}"),
    ("runs", "update", "sample.1", "{0}={1}"),
    ("runs", "cancel", "{0}"),
    ("runs", "cancel", "sample", "{0}"),
    ("runs", "delete", "--dry-run", "{0}"),
    ("runs", "delete", "--dry-run", "sample", "{0}"),
    ("clean", "--constraints", "{0}", "--current-files"),
    ("clean", "-bd", "{0}"),
    ("kill", "-bd", "{0}"),
    ("study", "migrate", "{0}"),
    ("study", "{0}"),
    ("launcher", "hold", "{0}"),
    ("launcher", "release", "{0}"),
    ("launcher", "start", "-bd", "{0}"),
    ("launcher", "start", "--generator", "{0}"),
    # What can be done would take its time: nothing is to start here.
    ("orchestrator", "start", "-n", "{0}", "--n_samples", "x{1}"),
    ("run", "--n_samples", "x{0}"),
    ("run", "--wait", "{0}", "--n_samples", "x"),
    ("run", "--generator", "{0}", "--n_samples", "x"),
    ("run", "{0}", "--no-such-option"),
    ("run", "-n", "{0}", "--no-such-option"),
]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    """A workflow deep in a directory in which nothing else is; its server runs."""
    directory = tmp_path / "a" / "b" / "demo"
    with new_workflow(directory) as line:
        line.run("run", "-n", "first", "--n_samples", "2")
        line.run("server", "start")
        yield line


def outside(here: CommandLine) -> set[str]:
    """What there is beside the workflow."""
    top = here.directory.parents[1]
    return {str(p) for p in top.rglob("*") if here.directory not in (p, *p.parents)}


def check_said(arguments: list[str], code: int, said: str) -> None:
    """The command has ended in words."""
    assert "Traceback" not in said, arguments
    assert "bug in Motoko" not in said, (arguments, said)
    assert code in range(11), (arguments, code, said)


@pytest.mark.slow
def test_any_word_is_answered_in_words(
    here: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here.directory)

    @settings(max_examples=examples(100, 400), suppress_health_check=[HealthCheck.too_slow])
    @given(command=st.sampled_from(COMMANDS), first=WORDS, second=WORDS)
    def answered(command: tuple[str, ...], first: str, second: str) -> None:
        words = {"{0}": first, "{1}": second}
        arguments = [
            part.replace("{0}", first) if part not in words else words[part] for part in command
        ]
        result = CliRunner().invoke(program, arguments)
        check_said(arguments, result.exit_code, result.output)

    answered()

    assert outside(here) == {str(here.directory.parent)}
    assert not list(here.directory.rglob("pwned"))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """Another one, to which nothing was done."""
    directory = tmp_path_factory.mktemp("names") / "a" / "b" / "demo"
    with new_workflow(directory) as line:
        yield line


@pytest.mark.slow
@pytest.mark.parametrize("word", NASTY)
def test_a_run_name_is_used_or_refused(calm: CommandLine, word: str) -> None:
    """As a process of its own, since the name goes into files, scripts and the environment."""
    arguments = ["run", f"--run_name={word}", "--n_samples", "1"]

    done = subprocess.run(
        [sys.executable, "-m", "motoko", *map(os.fsencode, arguments)],
        cwd=calm.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )

    check_said(arguments, done.returncode, (done.stdout + done.stderr).decode(errors="replace"))
    assert not list(calm.directory.rglob("pwned"))
    assert outside(calm) == {str(calm.directory.parent)}


@pytest.mark.slow
@given(name=WORDS)
@example("../../x")
def test_files_of_a_run_name_lie_where_they_belong(calm: CommandLine, name: str) -> None:
    try:
        check_run_name(name)
    except WorkflowError:
        return
    workflow = Workflow(str(calm.directory))

    file = control.orchestrator_file(workflow, name)
    output = Path(layout.output_file("/runs/run-1", name, 1))

    assert Path(os.path.normpath(file)).parent == workflow.state_dir
    assert Path(os.path.normpath(output)).parent == Path("/runs/run-1")
    assert len(os.fsencode(file.name)) < 256
    assert len(os.fsencode(output.name)) < 256
