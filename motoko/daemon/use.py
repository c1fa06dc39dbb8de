"""Using what the holder of an office offers, so that it ends once nobody does any more.

Whoever begins takes a shared lock on a file beside the office's, and makes sure of a holder
only then. Whoever ends the holder has to have that lock alone, without waiting for it, and
keeps it until the holder is gone: who begins meanwhile waits, and starts the next one. From
who dies the system takes the lock.

A holder ends with the one who has started it, or, where others use it by then, with the last
of those. Who has died tells nobody: what it has started stays, until somebody stops it by hand
or adopts it. Who asked for a holder by itself has it stay, too.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Collection
from pathlib import Path

from motoko.crashpoints import reached
from motoko.daemon.forks import keep_from_children
from motoko.daemon.office import KEPT, PASSED, Office, Owner
from motoko.daemon.process import stop
from motoko.errors import MotokoError
from motoko.host import NO_LOCKS, is_same
from motoko.paths import local_lock_file, make_state_dir

log = logging.getLogger(__name__)


class Use:
    """That of one command; `begin` it before there need be a holder, `end` or `leave` it."""

    def __init__(self, office: Office, *, is_passing: bool = True) -> None:
        """With ``is_passing`` what this one starts ends with its users; else it stays."""
        self.office = office
        self._is_passing = is_passing
        self._one_at_a_time = threading.Lock()
        self._fd: int | None = None
        self._file = office.file.with_suffix(".users")
        #: The holder that this one has started, and the last one that it met.
        self._own: Owner | None = None
        self._met: Owner | None = None
        #: The process that this one is just starting: it may be cut off before `started`.
        self._spawned: int | None = None
        self._stays = False
        keep_from_children(self)

    @property
    def own_fds(self) -> list[int]:
        """The descriptor whose lock says that it is used."""
        return [] if self._fd is None else [self._fd]

    def begin(self) -> None:
        """Use it from now on; waits for who is stopping the holder. May be called again."""
        with self._one_at_a_time:
            if self._fd is None or not is_same(self._fd, self._file):
                self.leave()
                self._fd = self._shared()
        last = self.office.last_owner()
        self._stays = last is not None and self._is_replaced(last)
        self._met = last

    def _is_replaced(self, last: Owner) -> bool:
        """Whether one that is started now comes in the place of one that was to stay."""
        is_used = _are_one(last, self._met) or self.office.owner() is not None
        is_kept = self.office.is_noted(last, KEPT)
        return is_used and is_kept and not self.office.was_stopped

    def _shared(self) -> int:
        """Lock the file, or another where that cannot be; the descriptor."""
        self._file = self.office.file.with_suffix(".users")
        make_state_dir(self._file.parent)
        try:
            return _shared(self._file)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        self._file = self._local_file()
        return _shared(self._file)

    def _local_file(self) -> Path:
        """The file to lock where there are no locks: beside the holder's, if there is one."""
        owner = self.office.owner()
        lock = owner.lock if owner is not None and owner.is_here else None
        return Path(lock or local_lock_file(self.office.file)).with_suffix(".users")

    def spawned(self, pid: int) -> None:
        """This user is starting a holder, which is that process; `started` follows."""
        if self._is_passing and not self._stays:
            self._spawned = pid

    def started(self, pid: int | None) -> None:
        """A holder is there now; this user has started it, if it is that process."""
        owner = self._met = self.office.owner()
        if owner is not None and owner.pid == pid:
            if self._stays or not self._is_passing:
                self.office.note(owner, KEPT)
            else:
                self._own = owner
        self._spawned = None

    def keep(self) -> None:
        """Have the holder stay, whoever has started it."""
        owner = self.office.owner()
        if owner is not None:
            self.office.note(owner, KEPT)

    def adopt(self, pids: Collection[int]) -> None:
        """Take a holder for one's own that is one of these processes."""
        owner = self.office.owner()
        if owner is not None and owner.pid in pids:
            self._own = owner

    @property
    def own(self) -> Owner | None:
        """The holder, if it is one that this user has started and that still runs."""
        owner = self.office.owner()
        return owner if self._is_own(owner) else None

    @property
    def others(self) -> Owner | None:
        """The holder here, if it goes on whoever uses it."""
        owner = self.office.owner()
        if owner is None or not owner.is_here:
            return None
        return owner if not self._is_to_end(owner) else None

    def _is_to_end(self, owner: Owner) -> bool:
        """Whether it ends with its users, of whom this is one."""
        if not owner.is_here or self.office.is_noted(owner, KEPT):
            return False
        return self._is_own(owner) or self.office.is_noted(owner, PASSED)

    def _is_own(self, owner: Owner | None) -> bool:
        if owner is None:
            return False
        return _are_one(owner, self._own) or (owner.is_here and owner.pid == self._spawned)

    def leave(self) -> None:
        """Use it no longer, and leave the holder as it is."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def end(self) -> bool:
        """Use it no longer, and stop the holder if it ends with its users and this was the
        last one; whether it goes on for others."""
        try:
            owner = self.office.owner()
            if self._fd is None or owner is None or not self._is_to_end(owner):
                return False
            self.office.note(owner, PASSED)  # first: by now another one may be the last
            reached("office.passed")
            if not self._is_alone():
                return True
            if _are_one(self.office.owner(), owner):
                stop(self.office)
        except (MotokoError, OSError) as error:
            log.info("%s", error)
        finally:
            self.leave()
        return False

    def _is_alone(self) -> bool:
        """Have the lock alone from now on, unless somebody else uses it."""
        assert self._fd is not None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return is_same(self._fd, self._file)


def _shared(file: Path) -> int:
    """Open a file and lock it together with others, once nobody has it alone."""
    while True:
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            if is_same(fd, file):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _are_one(one: Owner | None, other: Owner | None) -> bool:
    if one is None or other is None:
        return False
    return (one.mark, one.epoch) == (other.mark, other.epoch)
