"""Offices: what one process at a time may do."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motoko import daemon
from motoko.cli import processes
from motoko.daemon import Office, Owner, process
from motoko.daemon import office as office_module
from motoko.errors import AlreadyRunning, ForeignOwner, NotRunning, StartFailed
from motoko.starter import READY_FD, waiting
from tests.support.waiting import wait_until

HOLDER = """\
import sys, signal
from pathlib import Path
from motoko.daemon import Office, say_ready
Office(Path(sys.argv[1]), "it").take({"a": 1})
say_ready()
signal.pause()
"""


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "office.lock", "it")


def test_a_holder_of_an_earlier_start_of_the_system_is_dead_whoever_has_its_number(
    office: Office,
) -> None:
    office.take({})
    owner = office.last_owner()
    office.leave()

    assert owner is not None and owner.is_alive
    assert not replace(owner, boot="0-before").is_alive


def test_an_office_is_held_until_it_is_left(office: Office) -> None:
    assert office.owner() is None

    office.take({"a": 1})
    owner = office.owner()
    office.leave()

    assert owner is not None
    assert (owner.facts, owner.epoch, owner.is_here, owner.is_alive) == (
        {"a": 1},
        1,
        True,
        True,
    )
    assert office.owner() is None


def test_there_is_one_holder_at_a_time(office: Office) -> None:
    office.take()

    with pytest.raises(AlreadyRunning, match=r"it is already running \(process \d+ on"):
        Office(office.file, "it").take()

    office.leave()
    other = Office(office.file, "it")
    other.take()
    assert other.epoch == 2
    other.leave()


def test_a_question_never_keeps_anybody_from_an_office(office: Office) -> None:
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            Office(office.file, "it").owner()

    office.take()
    office.leave()
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            office.take()
            office.leave()
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert office.epoch == 201


def test_a_holder_on_another_host_is_not_replaced_unless_that_is_wanted(office: Office) -> None:
    office.take()
    office.leave()
    move_elsewhere(office.file)

    with pytest.raises(ForeignOwner, match=r"belongs to process .* on elsewhere"):
        office.take()
    with pytest.raises(ForeignOwner):
        daemon.stop(office)

    office.take(takeover=True)
    assert office.epoch == 2
    assert office.loss is None
    office.leave()


def test_who_has_left_an_office_on_another_host_does_not_hold_it(office: Office) -> None:
    office.take()
    office.leave()
    facts = json.loads(office.file.read_text())
    office.file.write_text(json.dumps({**facts, "host": "elsewhere"}))

    assert office.owner() is None
    office.take()
    assert office.epoch == 2
    office.leave()


def test_what_was_left_on_another_host_is_taken_by_one_process(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.take()
    office.leave()
    facts = json.loads(office.file.read_text())
    office.file.write_text(json.dumps({**facts, "host": "elsewhere"}))
    other = Office(office.file, "it")

    def second(point: str) -> None:
        monkeypatch.setattr(office_module, "reached", lambda _: None)
        with pytest.raises(AlreadyRunning, match="starting"):
            other.take()

    monkeypatch.setattr(office_module, "reached", second)
    office.take()

    assert office.epoch == 2
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        other.take()
    office.leave()


@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize("failing", ["_write_to", "_read_owner"])
def test_an_office_that_could_not_be_taken_is_nobodys(
    office: Office, monkeypatch: pytest.MonkeyPatch, failing: str, is_elsewhere: bool
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    office.take()
    office.leave()
    if is_elsewhere:
        move_elsewhere(office.file)
    before = set(os.listdir("/proc/self/fd"))

    with monkeypatch.context() as full:
        full.setattr(office_module, failing, fail)
        with pytest.raises(OSError, match="No space"):
            office.take(takeover=is_elsewhere)
    opened = set(os.listdir("/proc/self/fd")) - before

    assert not opened
    Office(office.file, "it").take(takeover=is_elsewhere)


def test_a_holder_that_is_replaced_sees_it_and_writes_to_nobody(office: Office) -> None:
    office.take({"a": 1})
    move_elsewhere(office.file)
    new = Office(office.file, "it")

    new.take({"b": 2}, takeover=True)  # although the old one's lock is seen here
    loss = office.loss
    office.update({"a": 3})
    office.leave()
    new.wait_for_the_old_one()
    owner = new.owner()
    new.leave()

    assert loss is not None and loss.startswith(
        f"it was taken over by process {os.getpid()} on "
    )
    assert owner is not None
    assert (owner.facts, owner.epoch, owner.has_left) == ({"b": 2}, 2, False)


def test_of_several_that_take_over_at_once_one_holds_the_office(office: Office) -> None:
    office.take()
    move_elsewhere(office.file)
    gate = threading.Barrier(8)
    taken: list[Office] = []
    refused: list[Exception] = []

    def take() -> None:
        mine = Office(office.file, "it")
        gate.wait()
        try:
            mine.take(takeover=True)
            taken.append(mine)
        except AlreadyRunning as error:
            refused.append(error)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    office.leave()

    assert (len(taken), len(refused)) == (1, 7)
    assert taken[0].loss is None
    taken[0].leave()


def test_who_is_overtaken_while_it_takes_over_holds_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.take()
    move_elsewhere(office.file)
    first, second = Office(office.file, "it"), Office(office.file, "it")
    others = [second]

    def overtake(point: str) -> None:
        if point == "office.locked" and others:
            others.pop().take(takeover=True)

    monkeypatch.setattr("motoko.daemon.office.reached", overtake)
    with pytest.raises(AlreadyRunning):
        first.take(takeover=True)

    assert second.loss is None
    second.leave()
    office.leave()


def test_without_locks_an_office_is_locked_elsewhere_on_the_machine(
    office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    refuse_locks_of(office.file, monkeypatch)

    office.take()
    owner = office.owner()
    with pytest.raises(AlreadyRunning):
        Office(office.file, "it").take()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # the place is written down
    with pytest.raises(AlreadyRunning):
        Office(office.file, "it").take()
    office.leave()

    assert owner is not None and owner.lock is not None
    assert owner.lock.startswith(str(tmp_path / "run"))
    assert office.owner() is None


def refuse_locks_of(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have locks of one file fail as in a file system without them."""
    flock = fcntl.flock

    def refuse(fd: Any, how: int) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        if Path(f"/proc/self/fd/{number}").readlink() == file:
            raise OSError(errno.ENOLCK, "No locks available")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", refuse)


def move_elsewhere(file: Path) -> None:
    """Have the holder of an office be on another host, and not have left."""
    facts = {**json.loads(file.read_text()), "host": "elsewhere", "has_left": False}
    file.write_text(json.dumps(facts))


def test_a_process_is_started_apart_and_stopped(office: Office, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(office.file)]

    pid = daemon.start(command, "it", tmp_path / "log")
    owner = office.owner()
    stopped = daemon.stop(office)

    assert owner is not None
    assert owner.pid == pid == stopped.pid
    assert office.owner() is None
    with pytest.raises(NotRunning):
        daemon.stop(office)


def test_a_process_killed_leaves_its_office(office: Office, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(office.file)]
    with subprocess.Popen(command) as process:
        while office.owner() is None:
            assert process.poll() is None
        process.kill()

    assert office.owner() is None


def test_a_process_that_does_not_start_is_reported_with_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no luck today')"]

    with pytest.raises(StartFailed, match="it did not start: no luck today"):
        daemon.start(command, "it", tmp_path / "log")


def test_a_process_that_says_why_and_does_not_end_is_ended_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "ENDING_S", 0.1)
    script = (
        "import os, signal; print(os.getpid(), flush=True);"
        "from motoko import starter; starter.say_why('no luck today'); signal.pause()"
    )
    log_file = tmp_path / "log"

    with pytest.raises(StartFailed, match="it did not start: no luck today"):
        daemon.start([sys.executable, "-c", script], "it", log_file)

    (pid,) = log_file.read_text().split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_process_whose_starter_has_gone_is_asked_to_end(
    office: Office, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-c", HOLDER, str(office.file)]
    os.close(reader)
    with subprocess.Popen(
        command, pass_fds=(writer,), env={**os.environ, READY_FD: waiting(writer)}
    ) as process:
        os.close(writer)

        assert process.wait(timeout=30) == -signal.SIGTERM


def test_facts_of_a_holder_are_replaced_in_place(office: Office) -> None:
    office.take({"a": 1})
    before, size = office.owner(), office.file.stat().st_size

    office.update({"trouble": ["x" * 500]})
    after = office.owner()
    n_bytes = office.file.stat().st_size
    office.leave()

    assert before is not None and after is not None
    assert after.facts == {"trouble": ["x" * 500]}
    assert (after.began, after.epoch) == (before.began, before.epoch)
    assert n_bytes == size


def test_holders_that_die_one_after_the_other_are_counted(office: Office) -> None:
    command = [sys.executable, "-c", HOLDER, str(office.file)]
    fallen = []
    for _ in range(3):
        with subprocess.Popen(command) as process:
            wait_until(lambda pid=process.pid: getattr(office.owner(), "pid", None) == pid)
            owner = office.owner()
            fallen.append(owner.n_fallen if owner else None)
            process.kill()
        assert office.has_died

    office.take()
    after_them = office.owner()
    office.leave()
    has_died = office.has_died
    office.take()
    after_one_that_left = office.owner()
    office.leave()

    assert fallen == [0, 1, 2]
    assert after_them is not None and after_them.n_fallen == 3
    assert not has_died
    assert after_one_that_left is not None and after_one_that_left.n_fallen == 0


def test_a_holder_that_lived_long_has_not_died_of_how_it_began(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", HOLDER, str(office.file)]
    with subprocess.Popen(command) as process:
        wait_until(lambda: getattr(office.owner(), "pid", None) == process.pid)
        process.kill()
    monkeypatch.setattr(daemon.Owner, "has_lived_long", True)

    office.take()
    after_it = office.owner()
    office.leave()

    assert after_it is not None and after_it.n_fallen == 0


def test_a_lock_that_was_removed_and_one_in_its_place_are_both_listed(tmp_path: Path) -> None:
    file = tmp_path / ".wf" / "server.lock"
    file.parent.mkdir()
    with file.open("w"):
        file.unlink()
        office = Office(file, "the database server")
        office.take()
        try:
            found = [p for p in processes.find() if p.directory == str(tmp_path)]
        finally:
            office.leave()

    assert [(p.is_removed, p.since is None) for p in found] == [(False, False), (True, True)]


def test_whoever_takes_an_office_is_its_owner_from_the_moment_it_has_the_lock(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Owner | None] = []
    asking = threading.Thread(target=lambda: seen.append(Office(office.file, "it").owner()))
    write = Office._write

    def written(self: Office) -> None:
        asking.start()
        asking.join(0.05)
        write(self)

    office.take()
    office.leave()
    monkeypatch.setattr(Office, "_write", written)
    office.take()
    asking.join()
    monkeypatch.undo()
    office.leave()

    assert [owner.epoch for owner in seen if owner is not None] == [2]


def test_who_stops_a_holder_does_not_wait_for_the_next_one(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Office(office.file, "it")
    kill = os.kill

    def killed(pid: int, number: int) -> None:
        kill(pid, number)
        os.waitpid(pid, 0)
        other.take()

    with_pid = daemon.start(
        [sys.executable, "-c", HOLDER, str(office.file)], "it", tmp_path / "log"
    )
    monkeypatch.setattr(os, "kill", killed)
    stopped = daemon.stop(office, wait_s=0.2)
    was_stopped, now = office.was_stopped, office.owner()
    other.leave()

    assert stopped.pid == with_pid
    assert now is not None and now.pid == os.getpid()
    assert not was_stopped
    assert not office.has_died
