"""A process tells who has started it, and nobody else, that it works."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from motoko import starter
from motoko.cli import main
from motoko.starter import READY, READY_FD, waiting


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its two ends; the second belongs to the process that is to be ready."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def test_a_command_takes_the_pipe_out_of_the_environment_first_thing(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    os.set_inheritable(writer, True)
    monkeypatch.setenv(READY_FD, waiting(writer))

    with pytest.raises(SystemExit):
        main(["--version"])
    is_there = READY_FD in os.environ
    is_inherited = os.get_inheritable(writer)
    starter.say_ready()

    assert not is_there
    assert not is_inherited
    assert os.read(reader, len(READY) + 1) == READY
    assert not starter.is_awaited()


def test_another_descriptor_of_that_number_is_left_alone(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    gone, other = os.pipe()
    said = f"{writer}:{waiting(other).partition(':')[2]}"
    os.close(gone)
    os.close(other)

    for name in (said, str(writer), "none"):
        monkeypatch.setenv(READY_FD, name)
        starter.say_why("it does not work")
        starter.say_ready()

        assert READY_FD not in os.environ
    has_news, _, _ = select.select([reader], [], [], 0)
    os.close(writer)  # which is open yet

    assert not has_news
