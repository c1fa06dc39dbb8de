"""Executing the commands of a batch system."""

from __future__ import annotations

import os

import pytest

from motoko.launch.commands import ask

#: What a command does that has said all, and goes on.
CLOSED = "echo said; exec >&- 2>&-; "


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this Python cannot wait so")
def test_the_end_of_a_command_is_waited_for_and_not_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("subprocess.time.sleep", pauses.append)
    goes_on = "for (( i = 0; i < 20000; i++ )); do :; done; exit 3"

    answer = ask(["bash", "-c", CLOSED + goes_on], 60)

    assert answer == (3, "said\n", "")
    assert pauses == []


def test_a_python_that_cannot_wait_so_gets_the_answer_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("os.pidfd_open", raising=False)  # as those built for old systems

    assert ask(["bash", "-c", CLOSED + "exit 3"], 60) == (3, "said\n", "")


def test_a_command_that_has_said_all_and_does_not_end_is_ended() -> None:
    answer = ask(["bash", "-c", CLOSED + "read -r <> <(:)"], 0.1)

    assert answer.code is None
    assert "did not answer within 0.1 s" in answer.words
