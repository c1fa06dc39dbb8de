"""The process that holds the database files of a workflow: one, however many studies."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ZEO.Exceptions import ClientDisconnected
from ZEO.StorageServer import StorageServer
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileStorageError, FileStorageFormatError
from ZODB.serialize import referencesf

from motoko.crashpoints import reached
from motoko.daemon import WATCH_S
from motoko.durable import force_directory, force_file
from motoko.errors import AlreadyRunning, DatabaseUnavailable, ForeignDatabase, NoSpaceLeft
from motoko.host import boot_clock, has_locks, in_words
from motoko.paths import local_lock_file, make_state_dir
from motoko.store import layout, tls
from motoko.store.address import Address, Served, keep_alive
from motoko.store.database_file import DatabaseFile
from motoko.store.room import is_full

log = logging.getLogger(__name__)

#: The module, which the class of the same name hides.
file_storage: Any = sys.modules[FileStorage.__module__]

#: A client that holds the commit lock longer than this is cut off.
COMMIT_TIMEOUT_S = 60
_PACK_CHECK_S = 60.0
_PACK_FROM_BYTES = 64 << 20
_PACK_FACTOR = 3
#: Revisions younger than this survive a pack, so that open snapshots stay readable.
_PACK_KEEP_S = 600.0


class Server:
    """Serves database files until it is stopped or they are removed or taken over."""

    def __init__(
        self,
        served: Sequence[Served],
        loss: Callable[[], str | None] = lambda: None,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        """``loss`` says why the files are another's now; None while they are not. ``tell`` is
        given the reason when no further connection can be taken, and "" when one can again."""
        self._tell = tell
        self._lack = ""
        self._served = served
        self._watch = _Watch(loss)
        self._open: list[_Storage] = []
        self._listening: list[_Listener] = []

    def start(self) -> None:
        """Open all files and listen; AlreadyRunning if another process has one open, and
        DatabaseUnavailable where it cannot listen."""
        at: dict[object, list[tuple[Address, _Storage]]] = {}
        try:
            for file, address in self._served:
                storage = _Storage(file, self._watch)
                self._open.append(storage)
                at.setdefault(address.for_zeo, []).append((address.resolved(), storage))
            for served in at.values():
                self._listening.append(_Listener(served))
        except BaseException:
            self.close()
            raise

    def run_until(self, stop: threading.Event) -> str:
        """Serve until ``stop`` is set or the files are gone; says which, in words."""
        next_pack = time.monotonic() + _PACK_CHECK_S
        while not stop.wait(WATCH_S):
            self._look_for_room()
            lost = self._watch.look()
            if lost is not None:
                return lost
            for storage in self._open:
                if storage.is_removed:
                    return f"{storage.file} was removed"
            if time.monotonic() > next_pack:
                for storage in self._open:
                    storage.pack_when_due()
                next_pack = time.monotonic() + _PACK_CHECK_S
        return "asked to stop"

    def _look_for_room(self) -> None:
        """Say it when no connection can be taken any more, and when one can again."""
        lack = ""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            lack = in_words(error)
        if lack != self._lack:
            log.warning("%s", lack or "there is room for connections again")
            self._lack = lack
            self._tell(lack)

    def close(self) -> None:
        """Stop listening and close all files."""
        with _without_farewells():
            for listener in self._listening:
                listener.close()
            for storage in self._open:
                storage.close()
        self._listening.clear()
        self._open.clear()


class _Watch:
    """Looks whether the files are still this server's."""

    def __init__(self, loss: Callable[[], str | None]) -> None:
        self._loss = loss
        self._looked = boot_clock()

    def look(self) -> str | None:
        """Why they are not, in words."""
        lost = self._loss()
        self._looked = boot_clock()
        return lost

    def check(self) -> None:
        """ClientDisconnected if they are not; looks when nobody could for a while.

        A server that was frozen may be asked to commit before its own loop comes to look.
        """
        if boot_clock() - self._looked > 2 * WATCH_S and (lost := self.look()) is not None:
            raise ClientDisconnected(lost)


class _File(DatabaseFile):
    """A database file that is served."""

    watch: _Watch

    @staticmethod
    def packer(storage: Any, *arguments: Any) -> Any:
        """Write the packed file, and have it on disk before it takes the other's place.

        That one gets its second name here: then what ZODB does, which renames the one before
        the other, leaves no moment without a file of that name.
        """
        storage.make_whole()
        found = FileStorage.packer(storage, *arguments)
        if found is not None:
            file = storage._file_name
            try:
                if storage.is_torn:  # by a commit beside the pack, which took that for whole
                    raise FileStorageError(f"{file} could not be written while it was packed")
                force_file(Path(f"{file}.pack"))
            except BaseException:
                storage._commit_lock.release()
                raise
            with suppress(OSError):  # of a file system that has no links
                os.link(file, f"{file}.old")
            reached("pack.copied")
        return found

    def _initIndex(self, *arguments: Any) -> None:
        super()._initIndex(*arguments)
        if self._pack_is_in_progress:  # else the file is being opened
            reached("pack.placed")

    def tpc_vote(self, *arguments: Any, **options: Any) -> Any:
        """Write a commit down, if the file is still this server's."""
        self.watch.check()
        found = super().tpc_vote(*arguments, **options)
        reached("server.voted")
        return found

    def tpc_finish(self, *arguments: Any, **options: Any) -> Any:
        """Make a commit final."""
        found = super().tpc_finish(*arguments, **options)
        reached("server.replied")
        return found


class _Listener:
    """Takes connections at one place, for all databases that are served there."""

    def __init__(self, served: Sequence[tuple[Address, _Storage]]) -> None:
        self._address = address = served[0][0]
        if address.path is not None:
            address.path.unlink(missing_ok=True)
        context = tls.server_context(address)
        try:
            address.check_free()
            with _for_this_user_only():
                self._server = StorageServer(
                    address.to_listen,
                    {one.storage: storage.file_storage for one, storage in served},
                    transaction_timeout=COMMIT_TIMEOUT_S,
                    invalidation_queue_size=1000,
                    ssl=context,
                )
            address.write_down()
        except OSError as error:
            if is_full(error):
                raise NoSpaceLeft(str(address)) from error
            why = f"cannot listen there: {error.strerror or error}"
            raise DatabaseUnavailable(str(address), why) from error
        for listening in self._server.acceptor.server.sockets:
            keep_alive(listening)
        threading.Thread(target=self._server.loop, name=f"zeo {address}", daemon=True).start()

    def close(self) -> None:
        self._server.close()


class _Storage:
    def __init__(self, file: Path, watch: _Watch) -> None:
        self.file = file
        self.file_storage = _open_file(file)
        self.file_storage.watch = watch
        self._inode = os.stat(file).st_ino
        self._packed_file = Path(f"{file}.packed")
        self._packed_size = min(self.file_storage.getSize(), _read_size(self._packed_file))
        self._packing: threading.Thread | None = None

    @property
    def is_removed(self) -> bool:
        if self._packing is not None and self._packing.is_alive():
            return False  # a pack replaces the file
        try:
            return os.stat(self.file).st_ino != self._inode
        except FileNotFoundError:
            return True
        except OSError:
            return False  # unknown is not gone

    def pack_when_due(self) -> None:
        """Drop old revisions once they are most of the file; goes on beside commits."""
        size = self.file_storage.getSize()
        if size < max(_PACK_FROM_BYTES, _PACK_FACTOR * self._packed_size):
            return
        if self._packing is None or not self._packing.is_alive():
            self._packing = threading.Thread(target=self._pack, name="pack", daemon=True)
            self._packing.start()

    def _pack(self) -> None:
        before = self.file_storage.getSize()
        try:
            # An index of what is longer would tell of a loss to whoever comes after a crash.
            Path(f"{self.file}.index").unlink(missing_ok=True)
            self.file_storage.pack(time.time() - _PACK_KEEP_S, referencesf)
            force_directory(self.file.parent)
            reached("pack.indexed")
            Path(f"{self.file}.old").unlink(missing_ok=True)
            self._packed_file.write_text(f"{self.file_storage.getSize()}\n")
        except Exception:
            log.exception("packing %s failed; the database is as it was", self.file)
        self._packed_size = self.file_storage.getSize()
        self._inode = os.stat(self.file).st_ino
        log.info("packed %s from %d to %d bytes", self.file, before, self._packed_size)

    def close(self) -> None:
        self.file_storage.close()


def _open_file(file: Path) -> Any:
    layout.check_not_cut(file)
    make_state_dir(file.parent)
    try:
        with _for_this_user_only(), _locked_where_possible(file):
            return _File(str(file), pack_keep_old=True)
    except Exception as error:
        if type(error).__name__ == "LockError":
            raise AlreadyRunning(f"a server of {file}", _lock_owner(file)) from error
        if isinstance(error, FileStorageFormatError):
            raise ForeignDatabase(str(file), layout.NO_DATABASE_FILE) from error
        if is_full(error):
            raise NoSpaceLeft(str(file)) from error
        raise DatabaseUnavailable(str(file), f"cannot be opened: {error}") from error


@contextmanager
def _locked_where_possible(file: Path) -> Iterator[None]:
    """A database opened inside is locked on this machine if its file system has no locks."""
    if has_locks(str(file.parent)):
        yield
        return
    before = file_storage.LockFile
    file_storage.LockFile = lambda path: before(str(local_lock_file(Path(path))))
    try:
        yield
    finally:
        file_storage.LockFile = before


@contextmanager
def _without_farewells() -> Iterator[None]:
    """Inside, ZEO does not complain of a client that it wants to close and has closed already.

    Its loop may have ended, with all connections, before it comes to close them one by one.
    """
    farewells = logging.getLogger("ZEO.asyncio.server")

    def is_worth_it(record: logging.LogRecord) -> bool:
        return record.msg != "call_soon_threadsafe failed while connected"

    farewells.addFilter(is_worth_it)
    try:
        yield
    finally:
        farewells.removeFilter(is_worth_it)


def _is_no_repetition(record: logging.LogRecord) -> bool:
    """Whether asyncio does not say, for each byte or second, what is known already."""
    told = str(record.msg)
    return not told.startswith(("socket.send() raised", "socket.accept() out of system"))


@contextmanager
def _for_this_user_only() -> Iterator[None]:
    """What is made inside cannot be opened by anybody else, not even for a moment."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _read_size(file: Path) -> int:
    """What the last pack left; nothing is known as nothing, so that a first one is made."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _lock_owner(file: Path) -> str:
    try:
        return f"process {Path(f'{file}.lock').read_text().split()[0]}"
    except (OSError, IndexError):
        return "another process"


def serve(
    served: Sequence[Served],
    stop: threading.Event,
    ready: Callable[[], object],
    loss: Callable[[], str | None] = lambda: None,
    tell: Callable[[str], object] = lambda _: None,
) -> str:
    """Hold the files until ``stop``, or until ``loss`` says why they are another's.

    Calls ``ready`` once clients can connect; ``tell`` as `Server` does.
    """
    logging.getLogger("asyncio").addFilter(_is_no_repetition)
    server = Server(served, loss, tell)
    server.start()
    try:
        reached("server.listening")
        ready()
        return server.run_until(stop)
    finally:
        reached("server.ending")
        server.close()
        reached("server.closed")
