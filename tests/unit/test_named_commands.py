"""Messages name commands that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import motoko
from motoko.cli.program import program

NAMED = re.compile(r"`motoko ([a-z-][^`]*)`")


def named() -> Iterator[tuple[str, str]]:
    """All that the source says in backquotes: the file, and what follows the program's name."""
    root = Path(motoko.__file__).parent
    for file in sorted(root.rglob("*.py")):
        text = re.sub(r'"\s*\n\s*f?"', "", file.read_text())
        for said in NAMED.findall(text):
            yield str(file.relative_to(root)), said


@pytest.mark.parametrize(("file", "said"), sorted(set(named())))
def test_each_command_that_is_named_is_there(file: str, said: str) -> None:
    command: click.Command = program
    for word in said.split():
        if not isinstance(command, click.Group) or not re.fullmatch("[a-z]+", word):
            return
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"{file} names `motoko {said}`"
        command = found
