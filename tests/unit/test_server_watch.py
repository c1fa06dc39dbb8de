"""A server looks whether its files are still its own before it makes a commit final."""

from __future__ import annotations

import pytest
from ZEO.Exceptions import ClientDisconnected

from motoko.daemon import WATCH_S
from motoko.store import server


def test_a_server_that_was_frozen_refuses_commits_once_it_was_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(server, "boot_clock", lambda: now)
    asked = []

    def loss() -> str:
        asked.append(now)
        return "taken over by process 7 on login2"

    watch = server._Watch(loss)

    watch.check()  # it looked a moment ago, and does not ask the file system for each commit
    assert asked == []
    now += 3 * WATCH_S
    with pytest.raises(ClientDisconnected, match="taken over by process 7"):
        watch.check()


def test_a_server_that_was_frozen_and_has_its_files_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(server, "boot_clock", lambda: now)
    watch = server._Watch(lambda: None)
    now += 3600

    watch.check()
