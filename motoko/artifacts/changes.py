"""How a store changes: what is intended is written down, done, and forgotten.

A change is decided by a small file, the *intent*, which says what is to be done; whoever holds
the lock of the store next, or looks, completes what a process that died had intended. Data are
copied, and removed, aside and without the lock, so that a large artifact keeps nobody waiting.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from motoko import host
from motoko.artifacts.content import remove
from motoko.artifacts.manifest import OFFICE, Artifact, Manifest, from_json, to_json
from motoko.crashpoints import reached
from motoko.durable import force_directory, locked, replace_file
from motoko.errors import PathTaken, StoreBusy

#: Longer than any change takes, since nothing is copied meanwhile.
_PATIENCE_S = 60.0
#: Whoever only looks waits so long for a writer that is at it.
_GLANCE_S = 1.0
#: A directory of something under way: who is at it, and a mark.
_ASIDE = re.compile(r"(\d+)-(\d+)-([0-9a-f]*)-[0-9a-f]{8}-(.*)")
#: Something lies there by now.
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Put(NamedTuple):
    """Data that lie aside under a name, what they are to be, where what they replace is."""

    artifact: Artifact
    data: str
    old: str | None = None


class Changes:
    """Those of one store, or of a view of it."""

    def __init__(self, root: Path, home: Path, manifest: Manifest) -> None:
        """``home`` has the manifest, ``root`` the data."""
        self._root = root
        self._home = home
        self._manifest = manifest

    def settle(self) -> None:
        """See to it that what a writer that died had intended is done: who looks for a name,
        and then puts it, is not told that it was there all the time."""
        if os.path.lexists(self._intent):
            with suppress(StoreBusy, OSError), self.locked(_GLANCE_S):
                pass  # a writer that is alive does it, or whoever may write here

    @contextmanager
    def aside(self) -> Iterator[Path]:
        """A directory of this process below the root, gone when the block ends."""
        pid = os.getpid()
        start = host.process_start_time(pid) or 0
        boot = host.boot_id().replace("-", "")
        mark = os.urandom(4).hex()
        office = self._root / OFFICE
        office.mkdir(parents=True, exist_ok=True)
        aside = office / f"{pid}-{start}-{boot}-{mark}-{host.host_name()}"
        aside.mkdir()
        try:
            yield aside
        finally:
            remove(aside)

    @contextmanager
    def locked(self, patience_s: float | None = None) -> Iterator[None]:
        """The only one who changes the store; what others had intended is done. StoreBusy."""
        patience_s = _PATIENCE_S if patience_s is None else patience_s
        office = self._home / OFFICE
        office.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(office / "lock", patience_s))
            except TimeoutError:
                raise StoreBusy(str(self._root), patience_s) from None
            self._complete_left()
            left = [aside for aside in (self._root / OFFICE).iterdir() if _is_left(aside)]
            yield
        for aside in left:
            with suppress(FileNotFoundError):  # others clear up the same
                remove(aside)

    def put(self, puts: Sequence[Put], aside: Path) -> None:
        """Give these data their places and names, with one save of the manifest; all or none.

        For who holds the lock. PathTaken when something has come to lie there meanwhile.
        """
        entries = [{**one._asdict(), "artifact": to_json(one.artifact)} for one in puts]
        self._intend({"put": entries, "aside": aside.name})
        try:
            self._do_puts(puts, self._root, aside)
        except BaseException:
            self._withdraw(puts, aside)
            raise
        self._intent.unlink()

    def remove(self, names: Iterable[str], aside: Path) -> None:
        """Take artifacts out of the manifest, and their data aside; for who holds the lock."""
        artifacts = self._manifest.read().artifacts
        paths = {name: artifacts[name].path for name in names}
        self._intend({"remove": paths, "aside": aside.name})
        try:
            self._do_removals(paths, self._root, aside)
        except BaseException:
            if paths.keys() <= self._manifest.read().artifacts.keys():
                self._intent.unlink(missing_ok=True)  # it has not happened
            raise
        self._intent.unlink()

    def restate(self, artifacts: Iterable[Artifact]) -> None:
        """Say other things of artifacts whose data stay; for who holds the lock."""
        self._manifest.write(self._manifest.read().changed(put=artifacts))

    @property
    def _intent(self) -> Path:
        return self._home / OFFICE / "intent.json"

    def _intend(self, what: dict[str, Any]) -> None:
        # A store may be moved before somebody completes this: its own root is not named.
        root = None if self._root == self._home else str(self._root)
        replace_file(self._intent, [json.dumps({**what, "root": root}).encode()])
        reached("artifacts.intended")

    def _complete_left(self) -> None:
        """Do what somebody had intended, or the rest of it."""
        try:
            intent = json.loads(self._intent.read_bytes())
        except FileNotFoundError:
            return
        root = Path(intent["root"] or self._home)
        aside = root / OFFICE / intent["aside"]
        if "put" in intent:
            puts = [
                Put(**{**one, "artifact": from_json(one["artifact"])}) for one in intent["put"]
            ]
            possible = []
            for one in puts:
                with suppress(PathTaken):  # it has not happened
                    _place(one, root, aside)
                    possible.append(one)
            self._do_puts(possible, root, aside)
        else:
            self._do_removals(intent["remove"], root, aside)
        self._intent.unlink()

    def _do_puts(self, puts: Sequence[Put], root: Path, aside: Path) -> None:
        directories: dict[Path, None] = {}
        for one in puts:
            _place(one, root, aside)
            place = root / one.artifact.path
            directories |= dict.fromkeys(p for p in place.parents if p.is_relative_to(root))
        for directory in directories:
            force_directory(directory)
        reached("artifacts.placed")
        contents = self._manifest.read()
        wanted = [one.artifact for one in puts if os.path.lexists(root / one.artifact.path)]
        wanted = [a for a in wanted if contents.artifacts.get(a.name) != a]
        if wanted:
            self._manifest.write(contents.changed(put=wanted))
        reached("artifacts.recorded")

    def _withdraw(self, puts: Sequence[Put], aside: Path) -> None:
        """Undo what is intended, unless it has happened: whoever wanted it is told that."""
        artifacts = self._manifest.read().artifacts
        if any(artifacts.get(one.artifact.name) == one.artifact for one in puts):
            return
        for one in puts:
            data, old = aside / one.data, aside / f"{one.data}.old"
            place = self._root / one.artifact.path
            if not os.path.lexists(data) and os.path.lexists(place):
                place.rename(data)
            if one.old is not None and os.path.lexists(old):
                _bring_back(old, self._root / one.old)
        self._intent.unlink(missing_ok=True)

    def _do_removals(self, paths: Mapping[str, str], root: Path, aside: Path) -> None:
        contents = self._manifest.read()
        present = [name for name in paths if name in contents]
        if present:
            self._manifest.write(contents.changed(removed=present))
        reached("artifacts.recorded")
        for number, path in enumerate(paths.values()):
            place = root / path
            if os.path.lexists(place):
                aside.mkdir(parents=True, exist_ok=True)
                place.rename(aside / str(number))
                _remove_empty(place.parent, root)


def _place(one: Put, root: Path, aside: Path) -> None:
    """Bring data to their place, which nobody else's have; done again, it does the rest.

    A file takes the place of the one that it replaces in one step.
    """
    data, old = aside / one.data, aside / f"{one.data}.old"
    place = root / one.artifact.path
    if not os.path.lexists(data):
        return
    is_file = one.artifact.kind == "file"
    if one.old is not None and not os.path.lexists(old) and os.path.lexists(root / one.old):
        _take_aside(root / one.old, old, is_kept=is_file and one.old == one.artifact.path)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        if is_file and os.path.lexists(old) and place.is_file():
            data.replace(place)
        elif is_file:
            _bring_to_free_place(data, place)
        else:
            data.rename(place)
    except OSError as error:
        if one.old is not None and os.path.lexists(old):
            _bring_back(old, root / one.old)
        if error.errno not in _TAKEN:
            raise
        raise PathTaken(str(place), "something that is no artifact lies there") from None


def _take_aside(place: Path, old: Path, *, is_kept: bool) -> None:
    if is_kept and place.is_file() and not place.is_symlink():
        try:
            os.link(place, old)
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
    place.rename(old)


def _bring_back(old: Path, place: Path) -> None:
    if not os.path.lexists(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        old.rename(place)


def _bring_to_free_place(data: Path, place: Path) -> None:
    try:
        os.link(data, place)
    except FileExistsError:
        if not data.samefile(place):  # else it was done before
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        data.rename(place)
        return
    data.unlink()


def _remove_empty(directory: Path, root: Path) -> None:
    try:
        while directory != root:
            directory.rmdir()
            directory = directory.parent
    except OSError:  # something else is in it
        pass


def _is_left(aside: Path) -> bool:
    """Whether whoever made it is no more; who that is on another host is not known here."""
    found = _ASIDE.fullmatch(aside.name)
    if found is None or found[4] != host.host_name():
        return False
    is_of_now = found[3] == host.boot_id().replace("-", "")
    return not is_of_now or not host.is_alive(int(found[1]), int(found[2]) or None)
