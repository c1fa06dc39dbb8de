"""Processes that another launcher began are ended by their number only while it is theirs."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from motoko.launch.bash import Bash


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_number_that_may_be_anothers_by_now_is_sent_no_signal(
    monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    sent: list[tuple[int, int]] = []
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        found = Bash().find(child.pid)
        assert found is not None
        if is_gone:
            child.kill()
            child.wait()
        with monkeypatch.context() as patched:
            patched.setattr(os, "killpg", lambda *given: sent.append(given))
            found.ask_to_end()
            found.insist()
        child.kill()
        found.leave()

    number = child.pid
    all_sent = [(number, signal.SIGTERM), (number, signal.SIGKILL)]
    assert sent == ([] if is_gone else all_sent)
