"""Whose a holder is when it, its directory or the file of its users is another one by then."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motoko import daemon
from motoko.daemon import Office, Use
from motoko.host import is_alive
from tests.support.waiting import wait_until
from tests.unit.test_use import begun, office, start

__all__ = ["office"]


def by_hand(office: Office) -> int:
    """A holder that stays, and whose starter uses it no longer."""
    use = begun(office, is_passing=False)
    pid = start(use)
    use.leave()
    return pid


def kill(office: Office) -> None:
    owner = office.owner()
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    wait_until(lambda: office.owner() is None)


def test_a_holder_that_came_in_the_place_of_the_own_one_is_not_stopped(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = begun(office)
    start(last)
    other: list[int] = []
    is_alone = Use._is_alone

    def meanwhile(use: Use) -> bool:
        daemon.stop(office)
        other.append(by_hand(office))
        return is_alone(use)

    monkeypatch.setattr(Use, "_is_alone", meanwhile)
    last.end()

    assert is_alive(other[0])


def test_a_lock_on_a_file_that_is_not_there_any_more_is_no_use(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    users = office.file.with_suffix(".users")

    def removed(fd: int, how: int) -> None:
        monkeypatch.undo()
        users.unlink()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", removed)
    first = begun(office)
    second = begun(office)
    start(second)

    assert second.end()  # for the first one
    assert not first.end()
    assert office.owner() is None


def test_a_failure_to_lock_is_no_lack_of_locks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, how: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output"):
        begun(office)


def died(office: Office) -> Use:
    by_hand(office)
    kill(office)
    return begun(office)


def stopped(office: Office) -> Use:
    by_hand(office)
    use = begun(office)
    daemon.stop(office)
    use.begin()
    return use


def died_in_use(office: Office) -> Use:
    by_hand(office)
    use = begun(office)
    kill(office)
    return use


@pytest.mark.parametrize(("before", "stays"), [(died, 0), (stopped, 0), (died_in_use, 1)])
def test_one_in_the_place_of_one_that_stays_does_too_if_that_was_used_and_not_stopped(
    office: Office, before: Callable[[Office], Use], stays: bool
) -> None:
    use = before(office)
    start(use)
    use.end()

    assert (office.owner() is not None) is bool(stays)


def test_a_holder_is_not_ended_by_who_has_not_started_it_or_uses_it_no_more(
    office: Office,
) -> None:
    gone, other, heir = begun(office), begun(office), begun(office)
    pid = start(gone)
    other.started(pid + 1)
    heir.adopt([pid + 1])
    gone.leave()

    ends = [gone.end(), other.end(), heir.end()]

    assert not any(ends)
    assert (other.own, heir.own) == (None, None)
    assert is_alive(pid)


def test_a_holder_in_another_directory_of_that_name_is_not_the_own_one(
    office: Office,
) -> None:
    first = begun(office)
    start(first)
    office.file.parent.rename(office.file.parent.with_name("backup"))
    pid = by_hand(office)

    first.end()

    assert first.own is None
    assert is_alive(pid)


def test_a_holder_on_another_host_is_left_alone(office: Office) -> None:
    first = begun(office)
    start(first)
    facts: dict[str, Any] = json.loads(office.file.read_text())
    here = Path(office.file).read_bytes()
    office.file.write_text(json.dumps({**facts, "host": "login7"}))
    owner = office.owner()
    assert owner is not None

    goes_on = first.end()

    assert not goes_on
    assert not office.is_noted(owner, "passed")
    assert first.others is None
    office.file.write_bytes(here)  # for who cleans up
