"""Server and launcher may die, and signals come, while a workflow is only just starting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.crashpoints import VARIABLE
from tests.support.command_line import CommandLine, new_workflow

#: What dies, in which order, while one `motoko run` comes up.
_EARLY = ("launcher.taken", "server.listening")
_OTHERS = (
    ("server.taken", "launcher.ready"),
    ("server.voted", "server.replied#2"),
    *((f"server.replied#{i}",) for i in range(3, 9)),
)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[CommandLine]:
    with new_workflow(tmp_path / "demo") as line:
        yield line


@pytest.mark.parametrize(
    "places", [_EARLY, *(pytest.param(places, marks=pytest.mark.slow) for places in _OTHERS)]
)
def test_what_dies_while_it_starts_is_started_again(
    here: CommandLine, places: tuple[str, ...]
) -> None:
    files = {place: here.directory / f"died-{i}" for i, place in enumerate(places)}
    died = ";".join(f"{place}:{file}" for place, file in files.items())

    with here.started("run", **{VARIABLE: died}) as process:
        output, messages = process.communicate(timeout=60)

    assert process.returncode == 0, messages
    assert all(file.exists() for file in files.values())
    assert "mean 1 run" in output
