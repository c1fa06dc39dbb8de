"""Which code runs are made with: all files of their study, the commit, the interpreter.

It is part of the manifest that a run refers to, so that a run costs nothing more. What is long
(the digests of the files, the packages of the interpreter) lies in ``.bd/code``, once for each
content. Files of a study are looked at when those that runs are given have changed, and
every few seconds else.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from motoko.durable import replace_file
from motoko.study.files import FileStore, content_digest

#: Digests of files that have not changed since, beside the database.
_KNOWN = "digests.json"
#: What is kept of versions, each content once.
CODE = "code"
_LOOK_S = 10.0
#: Of a study with more files, or with files that change again and again, the rest is not told.
_MOST_FILES = 2000
_MOST_VERSIONS = 200
#: Of a larger file only its size and the time of its last change are compared.
_LARGEST = 64 << 20
_GIT_S = 2.0

Digests = dict[str, str]


class Versions:
    """The present code of one study."""

    def __init__(self, directory: Path, state_dir: Path) -> None:
        self._directory = directory
        self._known_file = state_dir / _KNOWN
        self._store = FileStore(state_dir / CODE)
        self._known: dict[str, list[Any]] | None = None
        self._last: dict[str, Any] = {}
        self._made: dict[str, dict[str, Any]] = {}
        self._given = ""
        self._looked = -_LOOK_S
        self._seen: set[str] = set()

    def with_code(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest of a run that is made now, with the code around its files."""
        given = manifest["key"]
        is_due = time.monotonic() - self._looked >= _LOOK_S or given != self._given
        if is_due and len(self._seen) < _MOST_VERSIONS:
            self._given = given
            self._last = self._look()
            self._looked = time.monotonic()
            self._made.clear()
        made = self._made.get(given)
        if made is None:
            content = f"{given} {json.dumps(self._last, sort_keys=True)}".encode()
            key = hashlib.blake2b(content, digest_size=10).hexdigest()
            made = self._made[given] = {**manifest, "key": key, "code": self._last}
        return made

    def _look(self) -> dict[str, Any]:
        files = self._store.keep_content(_plain(self.digests(is_kept=True)))
        found: dict[str, Any] = {"files": files}
        found["python"] = self._store.keep_content(_plain(interpreter()))
        commit = find_commit(self._directory)
        if commit is not None:
            found["commit"] = commit
            if files in self._seen and commit == self._last.get("commit"):
                is_changed = self._last.get("is_changed")
            else:
                is_changed = differs_from_commit(self._directory)
            if is_changed is not None:
                found["is_changed"] = is_changed
        self._seen.add(files)
        return found

    def digests(self, *, is_kept: bool = False) -> Digests:
        """The digests of the study's files by their names; those that cannot be read are left
        out. With ``is_kept`` they are remembered for whoever asks next."""
        if self._known is None:
            self._known = _read(self._known_file)
        known: dict[str, list[Any]] = {}
        found: Digests = {}
        for name, path in _files(self._directory):
            with suppress(OSError):
                status = path.stat()
                state = [status.st_mtime_ns, status.st_size, status.st_ino]
                before = self._known.get(name)
                if before is not None and before[:3] == state:
                    digest = before[3]
                elif status.st_size > _LARGEST:
                    digest = f"{status.st_size} bytes of {status.st_mtime_ns}"
                else:
                    digest = content_digest(path)
                found[name] = digest
                known[name] = [*state, digest]
        if is_kept and known != self._known:
            with suppress(OSError):
                replace_file(self._known_file, [_plain(known)])
        self._known = known
        return found

    def stored(self, code: Mapping[str, Any], part: str) -> dict[str, Any]:
        """The files, or the interpreter, that a manifest refers to; empty if that is lost, or
        nobody else may read it."""
        return _read(self._store.path(str(code.get(part, "none"))))

    def changed_since(self, code: Mapping[str, Any] | None) -> list[str]:
        """Names of the files that are not any more what they were; new ones do not count."""
        before = self.stored(code or {}, "files")
        if not before:
            return []
        now = self.digests()
        return [name for name, digest in before.items() if now.get(name) != digest]


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """The files of a study by their names in it, as many as are told at most: neither hidden
    directories, nor what runs have left."""
    n_left = _MOST_FILES
    left = [directory]
    while left:
        try:
            with os.scandir(left.pop(0)) as entries:
                found = sorted(entries, key=lambda one: one.name)
        except OSError:
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if not _is_left_out(entry.name):
                    left.append(Path(entry.path))
            elif entry.is_file() and n_left > 0:
                n_left -= 1
                path = Path(entry.path)
                yield str(path.relative_to(directory)), path


def _is_left_out(name: str) -> bool:
    is_of_runs = name.startswith("BD-") and name.endswith(("-runs", "-archives"))
    return is_of_runs or name.startswith((".", "motoko-backup-")) or name == "__pycache__"


@cache
def interpreter() -> dict[str, Any]:
    """The present Python and its packages."""
    packages: dict[str, str] = {}
    for place in sys.path:
        with suppress(OSError):
            for name in os.listdir(place or "."):
                if name.endswith((".dist-info", ".egg-info")):
                    project, _, version = name.rpartition(".")[0].partition("-")
                    packages.setdefault(project, version.partition("-py")[0])
    return {
        "version": sys.version.split()[0],
        "executable": sys.executable,
        "packages": dict(sorted(packages.items())),
    }


def find_commit(directory: Path) -> str | None:
    """The commit that is checked out in the git repository around a directory."""
    for place in (directory, *directory.parents):
        git = place / ".git"
        with suppress(OSError, UnicodeDecodeError):
            if git.is_file():  # a worktree, or a submodule
                git = place / git.read_text().partition("gitdir:")[2].strip()
            if (git / "HEAD").is_file():
                return _resolved(git)
    return None


def _resolved(git: Path) -> str | None:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head or None
    name = head.removeprefix("ref: ")
    shared = git / "commondir"
    common = git / shared.read_text().strip() if shared.is_file() else git
    for place in (git, common):
        if (place / name).is_file():
            return (place / name).read_text().strip()
    packed = common / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)


def differs_from_commit(directory: Path) -> bool | None:
    """Whether files in a directory are other than in the commit; None if git does not say."""
    command = ["git", "status", "--porcelain", "--untracked-files=no", "--", "."]
    command += [":(exclude).bd", ":(exclude)BD-*"]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return bool(done.stdout.strip())


def _plain(value: Any) -> bytes:
    return json.dumps(value).encode()


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
