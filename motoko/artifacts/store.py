"""A store of artifacts: what is in it, and how it changes.

A change is decided by a small file, the *intent*, which says what is to be done; whoever holds
the lock of the store next, or looks, completes what a process that died had intended. Data are
copied, and removed, aside and without the lock, so that a large artifact keeps nobody waiting.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from motoko import host
from motoko.artifacts.archive import write_archive
from motoko.artifacts.content import Content, content_of, copy_dir, copy_file, remove
from motoko.artifacts.manifest import (
    KINDS,
    MANIFEST,
    OFFICE,
    Artifact,
    Manifest,
    from_json,
    inner_path,
    to_json,
)
from motoko.crashpoints import reached
from motoko.durable import force_directory, locked, replace_file
from motoko.errors import (
    ArtifactExists,
    ArtifactNotFound,
    ArtifactsDamaged,
    ArtifactStoreNotFound,
    PathOutside,
    PathTaken,
    StoreBusy,
)

#: Longer than any change takes, since nothing is copied meanwhile.
_PATIENCE_S = 60.0
#: Whoever only looks waits so long for a writer that is at it.
_GLANCE_S = 1.0
#: A directory of something under way: who is at it, and a mark.
_ASIDE = re.compile(r"(\d+)-(\d+)-([0-9a-f]*)-[0-9a-f]{8}-(.*)")


@dataclass(frozen=True)
class Problem:
    """An artifact that is not what was stored: ``missing``, ``changed``, or ``unreadable``."""

    name: str
    path: Path
    what: str


class ArtifactStore:
    """Files and directories below a root, each under a name, with a manifest of them all.

    Any number of processes may read and change a store at the same time; a change has happened
    as a whole or not at all, whoever dies when. The directory is made by the first artifact.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root).absolute()
        self._home = self._root
        self._manifest = Manifest(self._home / MANIFEST)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._root)!r})"

    @property
    def root(self) -> Path:
        """The directory that the data lie in."""
        return self._root

    @property
    def manifest_file(self) -> Path:
        """The manifest; in another directory for a view that `rebase` made."""
        return self._manifest.file

    def put_file(
        self,
        src: str | os.PathLike[str],
        name: str,
        dst_rel: str | os.PathLike[str] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        run: str | None = None,
    ) -> Artifact:
        """Store a copy of a file under a name that is free.

        It comes to lie at ``dst_rel`` below the root, or at the name. ``metadata`` is anything
        that JSON can hold, ``run`` the run that made it, as in ``mult.17``. ArtifactExists, a
        KeyError, before anything is copied when the name is taken; PathTaken when something
        else lies there; PathOutside when that would not be below the root.
        """
        return self._put(Path(src), _wanted(name, dst_rel, "file", metadata, run))

    def put_dir(
        self,
        src: str | os.PathLike[str],
        name: str,
        dst_rel: str | os.PathLike[str] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        run: str | None = None,
    ) -> Artifact:
        """Store a copy of a directory with all that is in it, as `put_file` does.

        Relative links to something inside it stay links, links to files outside become these
        files, others raise PathOutside.
        """
        return self._put(Path(src), _wanted(name, dst_rel, "dir", metadata, run))

    def path(self, name: str) -> Path:
        """Where an artifact lies. ArtifactNotFound, a KeyError."""
        return self._place(self._get(name).path)

    def open(self, name: str, mode: Literal["r", "rb"] = "r") -> IO[Any]:
        """Open a file for reading, as text in UTF-8 or as bytes. ArtifactNotFound."""
        if mode not in ("r", "rb"):
            raise ValueError(f"mode {mode!r}: artifacts are opened with 'r' or 'rb'")
        path = self.path(name)
        return open(path, mode, encoding=None if "b" in mode else "utf-8")

    def remove(self, name: str) -> None:
        """Remove an artifact and its data. ArtifactNotFound, a KeyError."""
        self._get(name)
        with self._aside() as aside:
            with self._locked():
                path = self._get(name).path
                self._place(path)
                self._intend({"remove": name, "path": path}, aside)
                self._complete()
            reached("artifacts.emptied")

    def list_artifacts(
        self, *, prefix: str | None = None, kind: str | None = None
    ) -> list[Artifact]:
        """All artifacts sorted by name; those only whose names begin so, or of one kind.

        Kinds are ``file`` and ``dir``.
        """
        if kind is not None and kind not in KINDS:
            raise ValueError(f"kind {kind!r}: expected {' or '.join(map(repr, KINDS))}")
        found = sorted(self._settled().values(), key=lambda artifact: artifact.name)
        return [
            artifact
            for artifact in found
            if artifact.name.startswith(prefix or "") and kind in (None, artifact.kind)
        ]

    def verify(self, *, of: Container[str | None] | None = None) -> list[Problem]:
        """Compare all data with their digests; what is missing or changed, by name.

        ``of`` are the runs whose artifacts are meant, if not all are.
        """
        problems = []
        for artifact in self.list_artifacts():
            if of is not None and artifact.run not in of:
                continue
            what = self._what_is_wrong(artifact)
            if what and self._manifest.read().get(artifact.name) == artifact:
                problems.append(Problem(artifact.name, self._root / artifact.path, what))
        return problems

    def rebase(self, new_root: str | os.PathLike[str]) -> ArtifactStore:
        """A view of the same artifacts whose data lie below another root.

        Both share one manifest, and what one of them changes there is changed for both; each
        of them writes and removes data below its own root. Nothing is copied or moved.
        """
        view = ArtifactStore(new_root)
        view._home = self._home
        view._manifest = Manifest(self._manifest.file)
        return view

    def copy_to(self, new_root: str | os.PathLike[str]) -> ArtifactStore:
        """Copy all artifacts into a store of its own below another root; that store.

        What is there already stays, so that a copy which was interrupted goes on. Raises
        ArtifactsDamaged for data that are not what was stored, and ArtifactExists when another
        artifact has the name there.
        """
        target = ArtifactStore(new_root)
        for artifact in self.list_artifacts():
            present = target._settled().get(artifact.name)
            if present == artifact:
                continue
            if present is not None:
                raise ArtifactExists(str(target.root), artifact.name)
            source = self._place(artifact.path)
            if not source.exists():
                raise ArtifactsDamaged(str(self._root), [(artifact.name, "missing")])
            target._put(source, artifact)
        return target

    def export(self, archive: str | os.PathLike[str]) -> Path:
        """Write all artifacts and the manifest into a new tar file; its path.

        It is compressed if its name ends in ``.gz``, ``.tgz``, ``.xz`` or ``.bz2``, and holds
        one directory, which is a store wherever it is unpacked. Raises ArtifactsDamaged for
        data that are not what was stored, and FileExistsError.
        """
        artifacts = self.list_artifacts()
        self._refuse_damage(artifacts)
        places = {artifact.name: self._place(artifact.path) for artifact in artifacts}
        return write_archive(Path(archive).absolute(), artifacts, places)

    def _settled(self) -> Mapping[str, Artifact]:
        """All artifacts by name, when what a writer that died had intended is done: who looks
        for a name, and then puts it, is not told that it was there all the time."""
        if os.path.lexists(self._intent):
            with suppress(StoreBusy, OSError), self._locked(_GLANCE_S):
                pass  # a writer that is alive does it, or whoever may write here
        return self._manifest.read()

    def _get(self, name: str) -> Artifact:
        artifacts = self._settled()
        if name not in artifacts:
            raise ArtifactNotFound(str(self._root), name, artifacts)
        return artifacts[name]

    def _place(self, path: str) -> Path:
        """A path below the root, unless links on the disk lead out of there."""
        place = self._root / path
        if not place.resolve().is_relative_to(self._root.resolve()):
            raise PathOutside(str(place), "leads out of the store through a link; remove that")
        return place

    def _what_is_wrong(self, artifact: Artifact) -> str:
        try:
            place = self._place(artifact.path)
            kinds = {"file": place.is_file(), "dir": place.is_dir()}
            if not kinds[artifact.kind]:
                return "changed" if os.path.lexists(place) else "missing"
            same = content_of(place) == Content(artifact.sha256, artifact.size)
        except PathOutside:
            return "changed"
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            return f"unreadable ({error.strerror})"
        return "" if same else "changed"

    def _refuse_damage(self, artifacts: list[Artifact]) -> None:
        found = [(artifact.name, self._what_is_wrong(artifact)) for artifact in artifacts]
        problems = [(name, what) for name, what in found if what]
        if problems:
            raise ArtifactsDamaged(str(self._root), problems)

    def _put(self, source: Path, wanted: Artifact) -> Artifact:
        """Store data; those of an artifact whose digest is known already must have it."""
        self._check_free(wanted)
        if wanted.kind == "dir" and self._root.resolve().is_relative_to(source.resolve()):
            raise PathOutside(str(source), "holds the store itself")
        with self._aside() as aside:
            copy = copy_file if wanted.kind == "file" else copy_dir
            content = copy(source, aside / "data")
            artifact = replace(wanted, sha256=content.sha256, size=content.size)
            if wanted.sha256 and artifact != wanted:
                raise ArtifactsDamaged(str(source), [(wanted.name, "changed")])
            reached("artifacts.copied")
            with self._locked():
                self._check_free(artifact)
                try:
                    self._intend({"put": to_json(artifact), "path": artifact.path}, aside)
                    self._complete()
                except BaseException:
                    self._withdraw(artifact, aside)
                    raise
        return artifact

    def _withdraw(self, artifact: Artifact, aside: Path) -> None:
        """Undo what is intended, unless it has happened: whoever wanted it is told that."""
        place = self._root / artifact.path
        if artifact.name not in self._manifest.read():
            if not os.path.lexists(aside / "data") and os.path.lexists(place):
                place.rename(aside / "data")
            self._intent.unlink(missing_ok=True)

    def _check_free(self, wanted: Artifact) -> None:
        artifacts = self._settled()
        if wanted.name in artifacts:
            raise ArtifactExists(str(self._root), wanted.name)
        place = self._place(wanted.path)
        for other in artifacts.values():
            if other.path == wanted.path or wanted.path.startswith(f"{other.path}/"):
                raise PathTaken(str(place), f"artifact {other.name!r} lies there")
        for taken in (place, *place.parents):
            if taken == self._root:
                break
            if os.path.lexists(taken) and (taken == place or not taken.is_dir()):
                raise PathTaken(str(taken), "something that is no artifact lies there")

    @contextmanager
    def _aside(self) -> Iterator[Path]:
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
    def _locked(self, patience_s: float | None = None) -> Iterator[None]:
        """The only one who changes the store; what others had intended is done."""
        patience_s = _PATIENCE_S if patience_s is None else patience_s
        office = self._home / OFFICE
        office.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(office / "lock", patience_s))
            except TimeoutError:
                raise StoreBusy(str(self._root), patience_s) from None
            self._complete()
            left = [aside for aside in (self._root / OFFICE).iterdir() if _is_left(aside)]
            yield
        for aside in left:
            with suppress(FileNotFoundError):  # others clear up the same
                remove(aside)

    @property
    def _intent(self) -> Path:
        return self._home / OFFICE / "intent.json"

    def _intend(self, what: dict[str, Any], aside: Path) -> None:
        # A store may be moved before somebody completes this: its own root is not named.
        root = None if self._root == self._home else str(self._root)
        content = json.dumps({**what, "aside": aside.name, "root": root}).encode()
        replace_file(self._intent, [content])
        reached("artifacts.intended")

    def _complete(self) -> None:
        """Do what is intended, or the rest of it."""
        try:
            intent = json.loads(self._intent.read_bytes())
        except FileNotFoundError:
            return
        root = Path(intent["root"] or self._home)
        aside, place = root / OFFICE / intent["aside"] / "data", root / intent["path"]
        artifacts = dict(self._manifest.read())
        if "put" in intent:
            artifact = from_json(intent["put"])
            if os.path.lexists(aside):
                _move(aside, place, root)
            reached("artifacts.placed")
            if os.path.lexists(place) and artifact.name not in artifacts:
                self._manifest.write({**artifacts, artifact.name: artifact})
            reached("artifacts.recorded")
        else:
            if artifacts.pop(intent["remove"], None):
                self._manifest.write(artifacts)
            reached("artifacts.recorded")
            if os.path.lexists(place):
                aside.parent.mkdir(parents=True, exist_ok=True)
                place.rename(aside)
                _remove_empty(place.parent, root)
        self._intent.unlink()


def _wanted(
    name: str,
    dst_rel: str | os.PathLike[str] | None,
    kind: str,
    metadata: Mapping[str, Any] | None,
    run: str | None,
) -> Artifact:
    if not name:
        raise ValueError("an artifact needs a name")
    plain = json.loads(json.dumps(dict(metadata or {}), allow_nan=False))
    return Artifact(
        name, inner_path(name if dst_rel is None else dst_rel), kind, "", 0, plain, run
    )


def existing_store(root: str | os.PathLike[str]) -> ArtifactStore:
    """The store in a directory. ArtifactStoreNotFound when there is no manifest in it."""
    store = ArtifactStore(root)
    if not store.manifest_file.is_file():
        raise ArtifactStoreNotFound(os.fspath(root), MANIFEST)
    return store


def _move(aside: Path, place: Path, root: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    aside.rename(place)
    for directory in (place.parent, *place.parent.parents):
        force_directory(directory)
        if directory == root:
            break


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
