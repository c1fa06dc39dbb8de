"""A store of artifacts: what is in it, and what can be done with it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from motoko.artifacts.archive import new_archive
from motoko.artifacts.changes import Changes, Put
from motoko.artifacts.content import (
    Content,
    Meanwhile,
    content_of,
    copy_dir,
    copy_file,
    go_on,
    remove,
)
from motoko.artifacts.manifest import (
    KINDS,
    MANIFEST,
    Artifact,
    Contents,
    Manifest,
    copied,
    inner_path,
    is_same,
)
from motoko.crashpoints import reached
from motoko.errors import (
    ArtifactError,
    ArtifactExists,
    ArtifactNotFound,
    ArtifactsDamaged,
    ArtifactStoreNotFound,
    PathOutside,
    PathTaken,
)

#: Of many that are put, those that were copied in this time are saved together.
_TOGETHER_S = 1.0


@dataclass(frozen=True)
class ToPut:
    """A file or a directory for `ArtifactStore.put_all`, and what is to be known of it."""

    src: Path
    name: str
    metadata: Mapping[str, Any]
    run: str | None


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
        self._changes = Changes(self._root, self._home, self._manifest)

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
        replaces: bool = False,
    ) -> Artifact:
        """Store a copy of a file under a name that is free.

        It comes to lie at ``dst_rel`` below the root, or at the name. ``metadata`` is anything
        that JSON can hold, ``run`` the run that made it, as in ``mult.17``. ArtifactExists, a
        KeyError, before anything is copied when the name is taken; PathTaken when something
        else lies there; PathOutside when that would not be below the root. What ``replaces``
        takes the place of what has the name, once all of it is copied; that stays until then.
        """
        wanted = _wanted(name, dst_rel, "file", metadata, run)
        return self._put(Path(src), wanted, replaces=replaces)

    def put_dir(
        self,
        src: str | os.PathLike[str],
        name: str,
        dst_rel: str | os.PathLike[str] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        run: str | None = None,
        replaces: bool = False,
    ) -> Artifact:
        """Store a copy of a directory with all that is in it, as `put_file` does.

        Relative links to something inside it stay links, links to files outside become these
        files, others raise PathOutside.
        """
        wanted = _wanted(name, dst_rel, "dir", metadata, run)
        return self._put(Path(src), wanted, replaces=replaces)

    def put_all(
        self, things: Iterable[ToPut], *, meanwhile: Meanwhile = go_on
    ) -> dict[str, Exception]:
        """Store many, replacing what has their names; by name, why some could not be.

        The manifest is saved once for all that are copied within a second. ``meanwhile`` is
        called again and again; what it raises ends the copying, and what is saved stays.
        """
        refused: dict[str, Exception] = {}
        waiting = list(things)[::-1]
        while waiting:
            taken: list[str] = []
            try:
                with self._changes.aside() as aside:
                    puts = self._copied_together(waiting, taken, aside, refused, meanwhile)
                    refused |= self._place(puts, aside, replaces=True)
            except (ArtifactError, OSError) as error:
                names = taken or [waiting.pop().name]
                refused |= {name: error for name in names if name not in refused}
        return refused

    def path(self, name: str) -> Path:
        """Where an artifact lies. ArtifactNotFound, a KeyError."""
        return self._in_store(self._get(name).path)

    def open(self, name: str, mode: Literal["r", "rb"] = "r") -> IO[Any]:
        """Open a file for reading, as text in UTF-8 or as bytes. ArtifactNotFound."""
        if mode not in ("r", "rb"):
            raise ValueError(f"mode {mode!r}: artifacts are opened with 'r' or 'rb'")
        path = self.path(name)
        return open(path, mode, encoding=None if "b" in mode else "utf-8")

    def remove(self, name: str, *more: str) -> None:
        """Remove an artifact, or several at once, with their data. ArtifactNotFound, a
        KeyError."""
        names = dict.fromkeys((name, *more))
        with self._changes.aside() as aside:
            for one in names:
                self._get(one)
            with self._changes.locked():
                for one in names:
                    self._in_store(self._get(one).path)
                self._changes.remove(names, aside)
            reached("artifacts.emptied")

    def mark_stale(self, whys: Mapping[Artifact, str | None]) -> None:
        """Say of artifacts why they are not what their runs have any more, or with None that
        they are; their data stay.

        What is not in the store any more as it was listed stays as it is.
        """

        def changed() -> list[Artifact]:
            now = self._manifest.read().artifacts
            found = {a.name: why for a, why in whys.items() if is_same(now.get(a.name), a)}
            others = ((now[name], why) for name, why in found.items())
            return [replace(one, stale=why) for one, why in others if one.stale != why]

        self._changes.settle()
        if changed():
            with self._changes.locked():
                self._changes.restate(changed())

    def list_artifacts(
        self, *, prefix: str | None = None, kind: str | None = None
    ) -> list[Artifact]:
        """All artifacts sorted by name; those only whose names begin so, or of one kind.

        Kinds are ``file`` and ``dir``.
        """
        if kind is not None and kind not in KINDS:
            raise ValueError(f"kind {kind!r}: expected {' or '.join(map(repr, KINDS))}")
        found = self._settled().artifacts
        names = found if prefix is None else [n for n in found if n.startswith(prefix)]
        of_kind = (found[name] for name in sorted(names) if kind in (None, found[name].kind))
        return [copied(artifact) for artifact in of_kind]

    def verify(
        self, *, of: Container[str | None] | None = None, meanwhile: Meanwhile = go_on
    ) -> list[Problem]:
        """Compare all data with their digests; what is missing or changed, by name.

        ``of`` are the runs whose artifacts are meant, if not all are. ``meanwhile`` is called
        again and again.
        """
        problems = []
        for artifact in self.list_artifacts():
            if of is not None and artifact.run not in of:
                continue
            what = self._what_is_wrong(artifact, meanwhile)
            if what and is_same(self._manifest.read().artifacts.get(artifact.name), artifact):
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
        view._changes = Changes(view._root, view._home, view._manifest)
        return view

    def copy_to(self, new_root: str | os.PathLike[str]) -> ArtifactStore:
        """Copy all artifacts into a store of its own below another root; that store.

        What is there already stays, so that a copy which was interrupted goes on. Raises
        ArtifactsDamaged for data that are not what was stored, and ArtifactExists when another
        artifact has the name there.
        """
        target = ArtifactStore(new_root)
        for artifact in self.list_artifacts():
            present = target._settled().artifacts.get(artifact.name)
            if present is not None and is_same(present, artifact):
                target.mark_stale({present: artifact.stale})
                continue
            if present is not None:
                raise ArtifactExists(str(target.root), artifact.name)
            source = self._in_store(artifact.path)
            if not source.exists():
                raise ArtifactsDamaged(str(self._root), [(artifact.name, "missing")])
            target._put(source, artifact)
        return target

    def export(self, archive: str | os.PathLike[str]) -> Path:
        """Write all artifacts and the manifest into a new tar file; its path.

        Its name says how it is compressed: ``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.xz`` or
        ``.tar.bz2``. It holds one directory, which is a store wherever it is unpacked. Raises
        ArtifactsDamaged for data that are not what was stored, FileExistsError, UnknownArchive;
        there is no archive then.
        """
        file = Path(archive).absolute()
        artifacts = self.list_artifacts()
        with new_archive(file) as made:
            made.add_manifest(artifacts)
            problems = []
            for artifact in artifacts:

                def add(place: Path, artifact: Artifact = artifact) -> Content:
                    return made.add(place, artifact.path)

                what = self._what_is_wrong(artifact, read=add)
                if what:
                    problems.append((artifact.name, what))
            if problems:
                raise ArtifactsDamaged(str(self._root), problems)
        return file

    def _settled(self) -> Contents:
        self._changes.settle()
        return self._manifest.read()

    def _get(self, name: str) -> Artifact:
        artifacts = self._settled().artifacts
        if name not in artifacts:
            raise ArtifactNotFound(str(self._root), name, artifacts)
        return artifacts[name]

    def _in_store(self, path: str) -> Path:
        """A path below the root, unless links on the disk lead out of there."""
        place = self._root / path
        if not place.resolve().is_relative_to(self._root.resolve()):
            raise PathOutside(str(place), "leads out of the store through a link; remove that")
        return place

    def _what_is_wrong(
        self,
        artifact: Artifact,
        meanwhile: Meanwhile = go_on,
        read: Callable[[Path], Content] | None = None,
    ) -> str:
        """``read`` says what the data are, if somebody wants them anyway."""
        try:
            place = self._in_store(artifact.path)
            kinds = {"file": place.is_file(), "dir": place.is_dir()}
            if not kinds[artifact.kind]:
                return "changed" if os.path.lexists(place) else "missing"
            found = content_of(place, meanwhile) if read is None else read(place)
            same = found == Content(artifact.sha256, artifact.size)
        except PathOutside:
            return "changed"
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            return f"unreadable ({error.strerror or error})"
        return "" if same else "changed"

    def _put(self, source: Path, wanted: Artifact, *, replaces: bool = False) -> Artifact:
        """Store data; those of an artifact whose digest is known already must have it."""
        self._check(source, wanted, replaces=replaces)
        with self._changes.aside() as aside:
            artifact = self._copied(source, wanted, aside / "0", go_on)
            for error in self._place([Put(artifact, "0")], aside, replaces=replaces).values():
                raise error
        return copied(artifact)

    def _copied_together(
        self,
        waiting: list[ToPut],
        taken: list[str],
        aside: Path,
        refused: dict[str, Exception],
        meanwhile: Meanwhile,
    ) -> list[Put]:
        """Copies of those that are saved together, taken from the end of who waits."""
        begun = time.monotonic()
        puts: list[Put] = []
        while waiting and (not taken or time.monotonic() - begun < _TOGETHER_S):
            one = waiting.pop()
            taken.append(one.name)
            try:
                kind = "dir" if one.src.is_dir() else "file"
                wanted = _wanted(one.name, None, kind, one.metadata, one.run)
                self._check(one.src, wanted, replaces=True)
                data = str(len(puts))
                copy = self._copied(one.src, wanted, aside / data, meanwhile)
                puts.append(Put(copy, data))
            except (ArtifactError, OSError) as error:
                refused[one.name] = error
        return puts

    def _check(self, source: Path, wanted: Artifact, *, replaces: bool) -> None:
        """Refuse what can be known before anything is copied."""
        self._check_free(self._settled(), wanted, replaces=replaces)
        if wanted.kind == "dir" and self._root.resolve().is_relative_to(source.resolve()):
            raise PathOutside(str(source), "holds the store itself")

    def _copied(
        self, source: Path, wanted: Artifact, target: Path, meanwhile: Meanwhile
    ) -> Artifact:
        copy = copy_file if wanted.kind == "file" else copy_dir
        try:
            content = copy(source, target, meanwhile)
        except BaseException:
            remove(target)
            raise
        artifact = replace(wanted, sha256=content.sha256, size=content.size)
        if wanted.sha256 and artifact != wanted:
            raise ArtifactsDamaged(str(source), [(wanted.name, "changed")])
        return artifact

    def _place(
        self, puts: Sequence[Put], aside: Path, *, replaces: bool
    ) -> dict[str, Exception]:
        """Give copies their places and names, with one save; by name, why some cannot have
        them. Raises what keeps all from that."""
        refused: dict[str, Exception] = {}
        if not puts:
            return refused
        reached("artifacts.copied")
        with self._changes.locked():
            contents, among = self._manifest.read(), Contents()
            free: list[Put] = []
            for one in puts:
                try:
                    self._check_free(contents, one.artifact, replaces=replaces)
                    self._check_among(among, one.artifact)
                except ArtifactError as error:
                    refused[one.artifact.name] = error
                    continue
                before = contents.artifacts.get(one.artifact.name)
                free.append(one._replace(old=None if before is None else before.path))
                if len(puts) > 1:
                    among = among.changed(put=[one.artifact])
            if free:
                self._changes.put(free, aside)
        return refused

    def _check_free(self, contents: Contents, wanted: Artifact, *, replaces: bool) -> None:
        before = contents.artifacts.get(wanted.name)
        if before is not None and not replaces:
            raise ArtifactExists(str(self._root), wanted.name)
        place = self._in_store(wanted.path)
        self._check_apart(contents, wanted)
        own = None if before is None else self._root / before.path
        for taken in (place, *place.parents):
            if taken == self._root:
                break
            if taken == own:
                continue
            if os.path.lexists(taken) and (taken == place or not taken.is_dir()):
                raise PathTaken(str(taken), "something that is no artifact lies there")

    def _check_among(self, others: Contents, wanted: Artifact) -> None:
        """Refuse what does not go together with what comes at the same time."""
        if wanted.name in others:
            raise ArtifactExists(str(self._root), wanted.name)
        self._check_apart(others, wanted)
        for other in others.artifacts.values():
            if other.path.startswith(f"{wanted.path}/"):
                place = self._root / wanted.path
                raise PathTaken(str(place), f"artifact {other.name!r} lies in there")

    def _check_apart(self, contents: Contents, wanted: Artifact) -> None:
        other = contents.at(wanted.path)
        if other not in (None, wanted.name):
            place = self._root / wanted.path
            raise PathTaken(str(place), f"artifact {other!r} lies there")


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
