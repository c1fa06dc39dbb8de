"""Options that an orchestrator adds to the commands which run it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from motoko.cli.own_options import PREFIX, OwnOptions, seconds, split
from motoko.errors import OrchestratorNotLoadable, StudyNotFound


def declare(parser: Any) -> None:
    """Two options as Motoko's own commands have them."""
    parser.add_argument("--run_name", "--run-name", "-n", dest=f"{PREFIX}run_name")
    parser.add_argument("--detach", "-d", action="store_true", dest=f"{PREFIX}detach")


def populate_arg_parser(parser: ArgumentParser) -> None:
    """Options as a user's orchestrator adds them."""
    parser.add_argument("--components", type=int, nargs="+", default=[1])
    parser.add_argument("--verbose_output", action="store_true")


@pytest.fixture
def module() -> ModuleType:
    made = ModuleType("orchestrator")
    made.__file__ = "orchestrator.py"
    made.populate_arg_parser = populate_arg_parser  # type: ignore[attr-defined]
    return made


@pytest.fixture
def workflow_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "motoko.yaml").write_text("")
    (tmp_path / "motoko.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "directory", "rest"),
    [
        ([], ".", ()),
        (["demo"], "demo", ()),
        (["-n", "a", "demo"], "demo", ()),
        (["demo", "--components", "1", "2", "-n", "a"], "demo", ("--components", "1", "2")),
        (["--components", "1", "2"], ".", ("--components", "1", "2")),
        (["demo/motoko.yaml", "-d"], "demo", ()),
    ],
)
def test_directory_stands_before_the_orchestrators_own_options(
    workflow_dir: Path, words: list[str], directory: str, rest: tuple[str, ...]
) -> None:
    found = split(words, declare)

    assert found is not None
    assert found.directory == workflow_dir / directory
    assert found.rest == rest


def test_help_is_asked_for_anywhere_in_the_arguments(workflow_dir: Path) -> None:
    assert split(["demo", "--components", "1", "--help"], declare) is None


def test_own_options_become_the_parameters_of_main(module: ModuleType) -> None:
    options = OwnOptions(module, declare, "motoko run")

    assert options.parse(["--components", "4", "8"]) == {
        "components": [4, 8],
        "verbose_output": False,
    }


def test_without_populate_arg_parser_there_are_no_parameters(module: ModuleType) -> None:
    del module.populate_arg_parser

    assert OwnOptions(module, declare, "motoko run").parse([]) == {}


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "soon"])
def test_seconds_are_a_number_above_zero(text: str) -> None:
    with pytest.raises((ValueError, ArgumentTypeError)):
        seconds(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compnents", "3"], "no such option --compnents; did you mean --components?"),
        (["--zzz"], "no such option --zzz (known: --run_name"),
        (["--components", "x"], "argument --components: invalid int value: 'x'"),
        (["--components"], "argument --components: expected at least one argument"),
        (["--comp", "3"], "no such option --comp"),
    ],
)
def test_mistake_in_an_own_option_is_a_usage_error(
    module: ModuleType, words: list[str], message: str
) -> None:
    with pytest.raises(click.UsageError) as raised:
        OwnOptions(module, declare, "motoko run").parse(words)

    assert message in raised.value.message
    assert "--run-name" not in raised.value.message  # which is another spelling


def test_word_that_is_no_option_is_taken_for_a_directory(module: ModuleType) -> None:
    with pytest.raises(StudyNotFound, match="demmo: no such directory"):
        OwnOptions(module, declare, "motoko run").parse(["demmo"])


def test_word_outside_of_a_workflow_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(StudyNotFound, match=r"^demmo: no such directory; .*: no motoko.yaml"):
        split(["demmo", "-n", "a"], declare)


def test_orchestrator_may_take_words_that_are_no_options(module: ModuleType) -> None:
    module.populate_arg_parser = lambda parser: parser.add_argument("file")  # type: ignore[attr-defined]

    assert OwnOptions(module, declare, "motoko run").parse(["a.msh"]) == {"file": "a.msh"}


def test_option_that_motoko_has_already_is_refused(module: ModuleType) -> None:
    module.populate_arg_parser = lambda parser: parser.add_argument("-n")  # type: ignore[attr-defined]

    with pytest.raises(OrchestratorNotLoadable, match="conflicting option string: -n"):
        OwnOptions(module, declare, "motoko run")


def test_failure_while_options_are_added_names_the_orchestrator(module: ModuleType) -> None:
    def fails(parser: ArgumentParser) -> None:
        raise ValueError("no")

    module.populate_arg_parser = fails  # type: ignore[attr-defined]

    with pytest.raises(OrchestratorNotLoadable, match=r"orchestrator.py.*ValueError: no"):
        OwnOptions(module, declare, "motoko run")


def test_exit_while_options_are_added_is_a_failure(module: ModuleType) -> None:
    module.populate_arg_parser = lambda parser: sys.exit(0)  # type: ignore[attr-defined]

    with pytest.raises(OrchestratorNotLoadable, match=r"it calls sys.exit\(0\) when loaded"):
        OwnOptions(module, declare, "motoko run")


def test_help_shows_motokos_and_the_orchestrators_options(module: ModuleType) -> None:
    text = OwnOptions(module, declare, "motoko run").help("What it does.")

    assert "What it does." in text
    assert text.index("--components") and text.index("--run_name")
    assert "Options of orchestrator.py" in text
