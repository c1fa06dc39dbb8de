"""The command line as a whole: help, spelling, loading, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from motoko import errors
from motoko.cli import exit_codes, failures
from motoko.cli.program import COMMANDS, program, spelled
from tests.support.command_line import CommandLine
from tests.support.workflows import write_workflow

#: What checks files and asks the network or other packages, besides what is heavy.
SELDOM = ("pydantic", "yaml", "motoko.config.checks", "email", "xml.sax", "importlib.metadata")
HEAVY = ("pydantic", "ZODB", "ZEO", "rich", "yaml", "anyio", "numpy", "pandas")


def typed(*arguments: str) -> tuple[int, str]:
    """Exit code and output of a command, in this process."""
    result = CliRunner().invoke(program, list(arguments))
    return result.exit_code, result.output


def error_classes() -> list[type[errors.MotokoError]]:
    """All errors of Motoko's own."""
    found = [errors.MotokoError]
    for kind in found:
        found += kind.__subclasses__()
    return found


def test_help_works_outside_a_workflow_and_names_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    code, output = typed("--help")

    assert code == 0
    assert all(f"  {name} " in output for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("retry", "a.1", "--dry-run"), "No such option '--dry-run'"),
        (("retry", "a.1", "--dry_run=3"), "No such option '--dry_run'"),
        (("retry", "a.1", "--curent_files"), "Did you mean '--current-files'?"),
        (("retry", "a.1", "--current-files=3"), "'--current-files' does not take a value"),
        (("list", "a", "--run-name"), "'--run-name' requires an argument"),
    ],
)
def test_options_are_named_as_they_are_typed_or_documented(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["runs", *words])

    assert ended.value.code == exit_codes.USAGE
    assert said in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    script = f"""
import sys
from motoko.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
sys.exit(", ".join(name for name in {HEAVY!r} if name in sys.modules) or 0)
"""

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_command_imports_what_checks_files_once(tmp_path: Path) -> None:
    write_workflow(tmp_path, {"mult": None})
    CommandLine(tmp_path).run("create")
    for kept in tmp_path.glob("**/*.yaml.read"):
        kept.unlink()
    script = f"""
import sys
from motoko.cli import main
try:
    main(["info", {str(tmp_path)!r}])
finally:
    print(*(name for name in {SELDOM!r} if name in sys.modules), sep="\\n", file=sys.stderr)
"""

    first, second = (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        for _ in range(2)
    )

    assert second.stdout == first.stdout
    assert "mult" in first.stdout
    assert "pydantic" in first.stderr.split()
    assert second.stderr.split() == []


def test_help_is_there_at_once() -> None:
    def cpu_time() -> float:  # not the clock's: the machine may be busy
        before = os.times()
        subprocess.run([sys.executable, "-m", "motoko", "--help"], capture_output=True)
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    assert min(cpu_time() for _ in range(3)) < 0.15


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(name: str) -> None:
    code, output = typed(name, "--help")

    assert code == 0
    assert "sage: " in output


def test_version_is_that_of_the_package() -> None:
    import motoko

    assert typed("--version") == (0, f"motoko {motoko.__version__}\n")


def test_unknown_command_is_a_usage_error_with_the_nearest_known_one() -> None:
    code, output = typed("lanucher")

    assert code == exit_codes.USAGE
    assert "no command 'lanucher'; did you mean 'launcher'?" in output


def test_a_study_that_is_not_there_is_said_before_a_database_that_is_not(
    tmp_path: Path,
) -> None:
    write_workflow(tmp_path, {"mult": None})

    wrong = CliRunner().invoke(program, ["why", "nostudy.1", "--dir", str(tmp_path)])
    right = CliRunner().invoke(program, ["why", "mult.1", "--dir", str(tmp_path)])

    assert "has no task manager or attribute 'nostudy'" in wrong.stderr
    assert "database" not in wrong.stderr
    assert "has no database yet" in right.stderr


def test_bd_is_a_spelling_of_bd_study_except_after_two_dashes() -> None:
    assert spelled(["info", "-bd", "x"]) == ["info", "--bd_study", "x"]
    assert spelled(["runs", "--", "-bd"]) == ["runs", "--", "-bd"]


def test_dashes_and_underscores_are_one_spelling(tmp_path: Path) -> None:
    for option in ("--run_name", "--run-name"):
        code, output = typed("info", option, "x", str(tmp_path / "nowhere"))

        assert (code, "no such directory" in output) == (exit_codes.NOT_FOUND, True)


def test_every_error_has_a_documented_exit_code() -> None:
    for kind in error_classes():
        error = kind.__new__(kind)

        assert exit_codes.of(error) in exit_codes.MEANINGS
        assert exit_codes.of(error) != exit_codes.DONE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError([]), 3),
        (errors.RunNameMissing(), 3),
        (errors.SchemaError("s", "k", "f", "a"), 3),
        (errors.ConstraintError("t", 0, "w"), 3),
        (errors.OrchestratorNotLoadable("f", 1, "m.f", "w"), 3),
        (errors.StudyNotFound("d", "w"), 4),
        (errors.RunNotFound("s", 1), 4),
        (errors.ActionFailed("e", None, ValueError()), 1),
        (errors.RunsFailed([]), 5),
        (errors.AlreadyRunning("w", "o"), 6),
        (errors.NotRunning("w"), 6),
        (errors.DatabaseUnavailable("a", "w"), 7),
        (errors.ForeignDatabase("d", "w"), 7),
        (errors.ConflictsExhausted("w", 3), 8),
        (errors.SubmissionFailed("r", "w", False), 8),
        (errors.UnknownGenerator("g", ["bash"]), 3),
        (errors.UnknownTaskManager("t", ["mult"]), 4),
        (errors.StartFailed("w", "y", "l", 3), 3),
        (errors.StartFailed("w", "y", "l", 70), 6),
        (errors.StartFailed("w", "y", "l"), 6),
        (failures.Stopped(2), 130),
        (failures.Stopped(15), 143),
        (KeyboardInterrupt(), 130),
        (SystemExit(7), 7),
        (PermissionError(13, "Permission denied", "/x"), 9),
        (ExceptionGroup("one", [errors.NotRunning("w")]), 6),
        (click.UsageError("u"), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_become_exit_codes(error: BaseException, code: int) -> None:
    assert failures.report(error) == code


def test_message_of_an_error_is_on_standard_error_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failures.report(errors.NotRunning("the launcher"))

    assert capsys.readouterr() == ("", "motoko: the launcher is not running\n")


def test_unexpected_exception_is_called_a_bug_and_its_traceback_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = failures.report(ZeroDivisionError("by zero"))

    said = capsys.readouterr().err
    log = Path(said.split("lies in ")[1].split("; please")[0])
    assert code == exit_codes.BUG
    assert "this is a bug in Motoko: ZeroDivisionError: by zero" in said
    assert "ZeroDivisionError: by zero" in log.read_text()
    log.unlink()


def test_traceback_is_shown_when_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise errors.NotRunning("it")
    except errors.NotRunning as error:
        failures.report(error, with_traceback=True)

    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_failed_action_is_explained_with_the_users_own_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orchestrator.py"
    file.write_text("def act():\n    return 1 / 0\n")
    names: dict[str, object] = {}
    exec(compile(file.read_text(), file, "exec"), names)
    try:
        names["act"]()  # type: ignore[operator]
    except ZeroDivisionError as cause:
        error = errors.ActionFailed("squared", None, cause)
        error.__cause__ = cause

    failures.report(error)

    said = capsys.readouterr().err
    assert "squared raised ZeroDivisionError: division by zero" in said
    assert f"{file}:2 in act: return 1 / 0" in said


def test_ten_failed_runs_are_named_and_the_others_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [errors.FailedRun("mult", i, "FAILED", "boom") for i in range(1, 13)]

    failures.report(errors.RunsFailed(runs))

    said = capsys.readouterr().err
    assert "12 runs failed" in said
    assert said.count("FAILED: boom") == 10
    assert "and 2 more" in said
    assert "motoko runs show mult.1" in said
    some = errors.RunsFailed(runs[:2])
    some.n_in_all = 12
    assert next(failures.explanation(some)) == "12 runs failed; these 2 ended the workflow:"


def test_reader_that_goes_away_is_no_error_message() -> None:
    script = (
        "import sys; from motoko.cli import main;"
        "import motoko.cli.program as p; p.COMMANDS.update({f'c{i}': 'x' * 60"
        " for i in range(3000)}); main(['--help'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()

        assert process.stderr.read() == b""
        assert process.wait() in (exit_codes.DONE, exit_codes.NOBODY_READS)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["schema", "workflow"]])
def test_code_of_a_command_whose_output_nobody_reads(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(
        [sys.executable, "-m", "motoko", *words], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)

    assert (done.returncode, done.stderr) == (exit_codes.NOBODY_READS, b"")
