"""What commands have started ends with the last that uses it, and under none that does."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motoko import daemon
from motoko.daemon import Office, Use
from motoko.daemon import use as use_module
from motoko.host import is_alive
from tests.support.waiting import wait_until

HOLDER = """\
import sys, signal
from pathlib import Path
from motoko.daemon import Office
from motoko.starter import say_ready
Office(Path(sys.argv[1]), "it").take()
say_ready()
signal.pause()
"""
USER = """\
import sys, signal
from pathlib import Path
from motoko import daemon
use = daemon.Use(daemon.Office(Path(sys.argv[1]), "it"))
use.begin()
if len(sys.argv) > 2:
    use.started(daemon.start([sys.executable, *sys.argv[2:]], "it", Path(sys.argv[1] + ".log")))
print("begun", flush=True)
signal.pause()
"""


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "state" / "it.lock", "it")
    yield office
    for file in tmp_path.glob("*/it.lock"):
        owner = Office(file, "it").owner()
        if owner is not None:
            os.kill(owner.pid, signal.SIGKILL)


def begun(office: Office, **how: Any) -> Use:
    use = Use(office, **how)
    use.begin()
    return use


def start(use: Use) -> int:
    """A holder, which this user has started."""
    log_file = use.office.file.with_suffix(".log")
    command = [sys.executable, "-c", HOLDER, str(use.office.file)]
    pid = daemon.start(command, "it", log_file, spawned=use.spawned)
    use.started(pid)
    return pid


def user(office: Office, *holder: str) -> subprocess.Popen[str]:
    """A process that uses it, and has started it if it is told how."""
    command = [sys.executable, "-c", USER, str(office.file), *holder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_holder_ends_with_the_last_of_its_users(office: Office) -> None:
    first = begun(office)
    pid = start(first)
    second, third = begun(office), begun(office)

    goes_on = [first.end(), third.end()]
    was_there = is_alive(pid)
    goes_on.append(second.end())

    assert goes_on == [True, True, False]
    assert was_there
    assert office.owner() is None
    assert office.was_stopped


def test_who_is_cut_off_before_it_has_taken_note_of_its_holder_ends_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(use: Use, pid: int | None) -> None:
        raise KeyboardInterrupt

    use = begun(office)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Use, "started", cut_off)
        start(use)
    assert office.owner() is not None

    assert not use.end()

    assert office.owner() is None


def test_who_begins_waits_until_the_last_user_has_stopped_the_holder(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = begun(office)
    start(last)
    stopped = []

    def stop(office: Office) -> None:
        with (
            open(office.file.with_suffix(".users"), "rb") as other,
            pytest.raises(BlockingIOError),
        ):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        stopped.append(daemon.stop(office).pid)

    monkeypatch.setattr(use_module, "stop", stop)
    last.end()
    next_one = begun(office)
    pid = start(next_one)
    next_one.end()

    assert len(stopped) == 2
    assert stopped[1] == pid


def test_a_holder_that_was_asked_for_by_itself_stays(office: Office) -> None:
    first, by_hand = begun(office), begun(office)
    pid = start(first)
    by_hand.keep()
    by_hand.leave()

    goes_on = first.end()
    later = begun(office)
    later_goes_on = later.end()

    assert not goes_on and not later_goes_on
    assert is_alive(pid)


def test_a_holder_started_in_the_place_of_one_that_stays_does_too(office: Office) -> None:
    by_hand = begun(office, is_passing=False)
    first = start(by_hand)
    by_hand.leave()
    keeper = begun(office)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: office.owner() is None)

    keeper.begin()
    second = start(keeper)
    keeper.end()

    assert second != first
    assert is_alive(second)


def test_users_that_are_killed_neither_keep_a_holder_nor_end_it(office: Office) -> None:
    starter = user(office, "-c", HOLDER, str(office.file))
    owner = office.owner()
    assert owner is not None
    idle = user(office)

    kill(starter)
    begun(office).end()
    outlives_its_starter = is_alive(owner.pid)
    heir = begun(office)
    heir.adopt([owner.pid])
    kill(idle)
    heir.end()

    assert outlives_its_starter
    assert office.owner() is None


def test_a_holder_is_ended_although_who_was_to_do_so_died_on_the_way(office: Office) -> None:
    first = begun(office)
    start(first)
    owner = office.owner()
    assert owner is not None
    office.note(owner, "passed")
    first.leave()  # so does the system with the lock of who dies

    begun(office).end()

    assert office.owner() is None


def test_where_the_directory_was_moved_aside_the_new_one_counts(office: Office) -> None:
    first, old = begun(office), begun(office)
    office.file.parent.rename(office.file.parent.with_name("backup"))
    second = begun(office)
    pid = start(second)

    first.begin()
    second.end()
    old.end()
    was_there = is_alive(pid)
    first.end()

    assert was_there
    assert office.owner() is None


def test_users_see_each_other_where_there_are_no_locks(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = tmp_path / "local"
    local.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(local))
    flock = fcntl.flock
    file = office.file.with_suffix(".users")

    def refuse(fd: Any, how: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == file:
            raise OSError(errno.ENOLCK, "No locks available")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", refuse)
    first = begun(office)
    pid = start(first)
    second = begun(office)

    goes_on = first.end()
    was_there = is_alive(pid)
    second.end()

    assert goes_on and was_there
    assert office.owner() is None
