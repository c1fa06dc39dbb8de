"""Offices: what one process at a time may do, and who that is.

An *office* is what one process at a time may do (serve the databases of a workflow, launch
its runs, orchestrate a run name). Whoever holds it keeps a lock on the office's file, in which
stands who that is: host, boot, process and its start time, and an epoch that grows with each
holder. The lock decides on this host; on another host the file's word counts, because locks
cannot be trusted over network file systems. Who takes an office over from another host puts a
new file in the place of the old one: the old holder sees that and ends, and what it still
writes into its own file reaches nobody. Where a file system has no locks at all, the lock lies
on a file in a private directory of this machine, and the office's file says where.
"""

from __future__ import annotations

import fcntl
import json
import logging
import logging.handlers
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from motoko import host
from motoko.crashpoints import reached
from motoko.daemon.forks import keep_from_children
from motoko.errors import AlreadyRunning, ForeignOwner
from motoko.paths import local_lock_file, local_lock_name, make_state_dir

log = logging.getLogger(__name__)

#: Longer than anybody's question who holds an office takes.
_ASKING_S = 0.5
#: How often a holder looks whether the office is still its own.
WATCH_S = 2.0
#: Within this a holder on another host has seen that it was replaced, however slowly the file
#: system tells it, and has ended.
_YIELDING_S = 5 * WATCH_S
#: What others note of a holder, for as long as it is the last one: that it was asked to end,
#: that it stays whoever uses it, that it ends with the last of its users.
STOPPED, KEPT, PASSED = "stop", "kept", "passed"
#: The file of an office is a multiple of this.
_BLOCK = 4096
#: A holder that lived so long has not died of what the one before it died of.
_LONG_S = 600.0
#: A holder that lives so long stands, however many before it have died.
_STANDING_S = 10.0


@dataclass(frozen=True)
class Owner:
    """The process that holds an office."""

    host: str
    boot: str
    pid: int
    started: int | None
    epoch: int
    began: float
    facts: Mapping[str, Any]
    #: Whether it has given its office up, in good order.
    has_left: bool = False
    #: How many holders in a row died soon after they began, up to it.
    n_fallen: int = 0
    #: The file that it holds a lock on, if that is not the office's.
    lock: str | None = None
    #: When it began on the clock of its boot, which nobody sets.
    clock: float | None = None
    #: Stands for the office, whose epochs are counted from its first holder on.
    mark: str = ""
    #: Device and inode of the directory that the office's file was in.
    place: Sequence[int] | None = None

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this host."""
        return self.host == host.host_name()

    @property
    def is_foreign(self) -> bool:
        """Whether it holds its office on another host, as far as can be known here."""
        return not self.is_here and not self.has_left

    @property
    def is_alive(self) -> bool:
        """Whether the process still exists; one on another host is taken to."""
        if not self.is_here:
            return True
        return self.boot == host.boot_id() and host.is_alive(self.pid, self.started)

    @property
    def age_s(self) -> float | None:
        """How long ago it began, whatever was done to the clock meanwhile; None if that was
        on another host or before this one was started."""
        if self.boot != host.boot_id() or self.clock is None:
            return None
        return host.boot_clock() - self.clock

    @property
    def has_lived_long(self) -> bool:
        """Whether it began so long ago that it cannot have died of how it began."""
        return self.age_s is None or self.age_s > _LONG_S

    @property
    def stands(self) -> bool:
        """Whether it goes on, as far as can be known here, unlike those that died early."""
        return self.age_s is None or self.age_s > _STANDING_S

    def described(self) -> dict[str, Any]:
        """Pid, host, since, and what it says of itself, as JSON has it."""
        return {"pid": self.pid, "host": self.host, "since": self.began, **self.facts}

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.began))
        return f"process {self.pid} on {self.host}, since {since}"


class Office:
    """What one process at a time may do; `take` it, `leave` it."""

    def __init__(self, file: Path, what: str, stop: str = "") -> None:
        """``stop`` is the command with which people end its holder."""
        self.file = file
        self.what = what
        self.stop = stop
        self._fd: int | None = None
        self._inode = 0
        #: Open beside the file: the one that is locked in its place, that of who was before.
        self._lock_fd: int | None = None
        self._old_fd: int | None = None
        self._self: Owner | None = None
        self.epoch = 0
        self.mark = ""
        keep_from_children(self)

    @property
    def own_fds(self) -> list[int]:
        """The descriptors whose locks are this holder's."""
        return [fd for fd in (self._fd, self._lock_fd, self._old_fd) if fd is not None]

    def owner(self) -> Owner | None:
        """Who holds the office now; None when nobody does.

        Who takes it has its lock before its name is there, and is waited for in between.
        """
        deadline = time.monotonic() + _ASKING_S
        while True:
            known = self.last_owner()
            if known is None:
                return None
            is_told_here = known.is_here or known.has_left  # by the lock, if anybody has it
            if is_told_here and not self._is_locked(known):
                return None
            is_it = known.is_alive and not known.has_left
            if is_it or time.monotonic() > deadline:
                return known
            time.sleep(0.001)

    def _is_locked(self, known: Owner) -> bool:
        """Whether somebody has the lock; that of another place, be it one that lies elsewhere
        or one with the same file under two names, says nothing of a copy."""
        if known.is_here and known.place not in (None, self._place()):
            return False
        if known.lock is None:
            return bool(host.is_locked(str(self.file)))
        is_mine = Path(known.lock).name == local_lock_name(self.file)
        return is_mine and bool(host.is_locked(known.lock))

    def _place(self) -> list[int] | None:
        try:
            found = self.file.parent.stat()
        except OSError:
            return None
        return [found.st_dev, found.st_ino]

    def ask_to_stop(self, owner: Owner) -> None:
        """Let everybody know that this holder, and none after it, is asked to end."""
        self.note(owner, STOPPED)

    def note(self, owner: Owner, what: str) -> None:
        """Let everybody know something of this holder, and of none after it."""
        self._note_file(owner, what).touch(mode=0o600)

    def is_noted(self, owner: Owner, what: str) -> bool:
        """Whether that was noted of this holder."""
        return self._note_file(owner, what).exists()

    def _note_file(self, owner: Owner, what: str) -> Path:
        return self.file.with_suffix(f".{what}-{owner.epoch}")

    @property
    def was_stopped(self) -> bool:
        """Whether the last holder was asked to end, rather than having died."""
        last = self.last_owner()
        return last is not None and self.is_noted(last, STOPPED)

    @property
    def has_died(self) -> bool:
        """Whether the last holder has died, neither asked to end nor of itself."""
        last = self.last_owner()
        is_over = last is not None and not last.has_left and self.owner() is None
        return is_over and not self.was_stopped

    @property
    def halt(self) -> str:
        """That its holder is stopped and what to do, in a sentence; empty while it is not."""
        owner = self.owner()
        if owner is None or not owner.is_here or not host.is_stopped(owner.pid):
            return ""
        pid = owner.pid
        return f"{self.what} is stopped (SIGSTOP) and answers nobody: `kill -CONT {pid}`"

    def last_owner(self) -> Owner | None:
        """Who holds the office or held it last."""
        try:
            return _read_owner(self.file.read_bytes())
        except OSError as error:
            if error.errno in host.NO_ROOM:
                raise
            return None

    def take(self, facts: Mapping[str, Any] | None = None, *, takeover: bool = False) -> None:
        """Become the holder until `leave` or the end of the process.

        Raises AlreadyRunning when another process here holds it, and ForeignOwner when one on
        another host does and ``takeover`` was not asked for. With it, that one is told to end;
        `wait_for_the_old_one` says when it has.
        """
        make_state_dir(self.file.parent)
        fd, lock, last = self._locked()
        try:
            self._begin(fd, lock, last, facts or {}, takeover=takeover)
        except BaseException:
            self._close(fd if self._fd is None else self._fd)
            self._fd = None
            raise

    def _begin(
        self,
        fd: int,
        lock: str | None,
        last: Owner | None,
        facts: Mapping[str, Any],
        *,
        takeover: bool,
    ) -> None:
        """Become the holder with what `_locked` gave."""
        reached("office.locked")
        is_foreign = last is not None and last.is_foreign
        if is_foreign and not takeover:
            raise ForeignOwner(self.what, str(last))
        self.epoch = (last.epoch if last else 0) + 1
        self.mark = (last.mark if last else "") or secrets.token_hex(6)
        n_fallen = 0
        if last is not None and not is_foreign and not last.has_left and not self.was_stopped:
            n_fallen = 0 if last.has_lived_long else last.n_fallen + 1
        pid = os.getpid()
        self._self = Owner(
            host=host.host_name(),
            boot=host.boot_id(),
            pid=pid,
            started=host.process_start_time(pid),
            epoch=self.epoch,
            began=time.time(),
            facts=dict(facts),
            n_fallen=n_fallen,
            lock=lock,
            clock=host.boot_clock(),
            mark=self.mark,
            place=self._place(),
        )
        if lock is not None:
            log.warning(
                "%s has no locks: %s holds %s instead", self.file.parent, self.what, lock
            )
        self._fd = self._put_in_place_of(fd) if is_foreign else fd
        self._inode = os.fstat(self._fd).st_ino
        self._write()
        reached("office.named")
        for what in (STOPPED, KEPT, PASSED):
            for old in self.file.parent.glob(f"{self.file.stem}.{what}-*"):
                if old != self._note_file(self._self, what):
                    old.unlink(missing_ok=True)

    def _locked(self) -> tuple[int, str | None, Owner | None]:
        """Open the file and lock it; also which other file is locked in its place, if one is,
        and who stands in it: the file may be replaced at any moment, by who takes over.

        A lock that a holder on another host has on it is none of ours: some file systems show
        it, others do not.
        """
        while True:
            fd = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                is_ours, lock = self._lock_either(fd)
                last = _read_owner(os.pread(fd, os.fstat(fd).st_size, 0))
                is_it = self._is_in_place(fd)
            except BaseException:
                self._close(fd)
                raise
            if is_it and (is_ours or (last is not None and last.is_foreign)):
                return fd, lock, last
            self._close(fd)
            if is_it:
                is_named = last is not None and not last.has_left
                raise AlreadyRunning(
                    self.what, str(last) if is_named else "starting", self.stop
                )

    def _lock_either(self, fd: int) -> tuple[bool, str | None]:
        """Lock the file, or another where that cannot be: whether it is ours, which other."""
        try:
            return self._lock(fd, self.file), None
        except OSError as error:
            if error.errno not in host.NO_LOCKS:
                raise
        lock = self._local_lock()
        self._lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._lock(self._lock_fd, lock), str(lock)

    def _is_in_place(self, fd: int) -> bool:
        try:
            return os.stat(self.file).st_ino == os.fstat(fd).st_ino
        except FileNotFoundError:
            return False

    def _local_lock(self) -> Path:
        """The file to lock where the office's own cannot be; one that is in use stays it."""
        last = self.last_owner()
        if last is not None and last.is_here and last.lock and self._is_locked(last):
            return Path(last.lock)
        return local_lock_file(self.file)

    def _put_in_place_of(self, fd: int) -> int:
        """Make a new file that is locked and names this holder the office's; its descriptor."""
        assert self._self is not None
        prefix = f"{self.file.name}."
        with _one_at_a_time(self.file):
            for left in self.file.parent.glob(f"{prefix}*"):
                left.unlink(missing_ok=True)  # by who was killed here
            last = self.last_owner()
            if last is not None and last.is_here:
                raise AlreadyRunning(self.what, str(last), self.stop)
            new, name = tempfile.mkstemp(prefix=prefix, dir=self.file.parent)
            try:
                if self._self.lock is None:
                    fcntl.flock(new, fcntl.LOCK_EX)
                _write_to(new, self._self)
                reached("office.aside")
                os.replace(name, self.file)
            except FileNotFoundError:  # one on another host takes it over now
                os.close(new)
                raise AlreadyRunning(self.what, str(self.last_owner()), self.stop) from None
            except BaseException:
                Path(name).unlink(missing_ok=True)
                os.close(new)
                raise
        self._old_fd = fd
        return new

    def wait_for_the_old_one(self) -> None:
        """Wait until the holder that this one has replaced has left, or must be gone."""
        deadline = time.monotonic() + _YIELDING_S
        while self._old_fd is not None and time.monotonic() < deadline:
            with suppress(OSError):  # a network file system may drop what has no name
                before = _read_owner(os.pread(self._old_fd, os.fstat(self._old_fd).st_size, 0))
                if before is None or before.has_left:
                    return
            time.sleep(0.1)

    def _close(self, fd: int) -> None:
        for one in (fd, self._lock_fd, self._old_fd):
            if one is not None:
                os.close(one)
        self._lock_fd = self._old_fd = None

    def _lock(self, fd: int, file: Path) -> bool:
        """Lock the file; whoever only asks who holds it has a lock for an instant too."""
        deadline = time.monotonic() + _ASKING_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if host.is_locked(str(file)) or time.monotonic() > deadline:
                    return False
                time.sleep(0.001)

    def update(self, facts: Mapping[str, Any]) -> None:
        """Replace the facts that others read about the holder; works on a full disk too."""
        assert self._self is not None
        self._self = replace(self._self, facts=dict(facts))
        self._write()

    @property
    def loss(self) -> str | None:
        """Why the office that was taken is held no longer, in words; None while it is."""
        try:
            fd = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC)  # asks a network file system
        except FileNotFoundError:
            return f"{self.file.parent} was removed"
        except OSError:
            return None  # unknown is not gone
        try:
            if os.fstat(fd).st_ino == self._inode:
                return None
        finally:
            os.close(fd)
        owner = self.last_owner()
        if owner is None or owner.epoch <= self.epoch:
            return f"{self.file.parent} was removed"
        return f"{self.what} was taken over by {owner}"

    def leave(self) -> None:
        """Give the office up."""
        if self._fd is not None and self._self is not None:
            self._self = replace(self._self, has_left=True)
            with suppress(OSError):
                self._write()
            reached("office.left")
            self._close(self._fd)
            self._fd = None

    def _write(self) -> None:
        assert self._fd is not None and self._self is not None
        try:
            _write_to(self._fd, self._self)
        except OSError as error:
            error.filename = str(self.file)
            raise


@contextmanager
def _one_at_a_time(file: Path) -> Iterator[None]:
    """Among the processes of this user on this host."""
    with open(f"{local_lock_file(file)}.takeover", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _write_to(fd: int, owner: Owner) -> None:
    text = json.dumps(asdict(owner)).encode()
    size = _BLOCK * (len(text) // _BLOCK + 1)  # so that the next one needs no room
    os.pwrite(fd, text.ljust(size - 1) + b"\n", 0)
    os.ftruncate(fd, size)


def _read_owner(text: bytes) -> Owner | None:
    try:
        return Owner(**json.loads(text))
    except (ValueError, TypeError):
        return None
