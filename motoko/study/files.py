"""The files a run is created with: their content is kept as it was at that moment.

Contents lie in ``.bd/files`` under their digest, once each, read-only. A *manifest* lists the
files of a run by name with digest, size, mode and whether markers are to be replaced in them.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from motoko.config import StudyConfig
from motoko.durable import force_directory
from motoko.errors import ConfigError, Mistake
from motoko.host import NO_ROOM
from motoko.study.remembered import Remembered, State, state_of

log = logging.getLogger(__name__)

#: A marker in a text file: replaced by the job's or run's entry of that name.
MARKER = re.compile(rb"__BLACKDYNAMITE__([a-z_][a-z0-9_]*?)__")
#: The beginning of one and the word behind it, whatever follows.
_BEGINNING = re.compile(rb"BLACKDYNAMITE__([A-Za-z0-9_]+?)(?=__|\W|$)")
#: A larger text is not looked through for slips.
_LARGEST_TEXT = 1 << 24
#: What file systems count the times of files in, with room to spare.
_TICK_NS = 100_000_000
#: Given to every run too, where it is there.
_PROGRAM = "doIt.py"
_TEXT_PROBE = 1 << 16
#: Of Linux: share the blocks of another file.
_FICLONE = 0x40049409


class Slip(NamedTuple):
    """What begins like a marker in a text and is none: the program gets it as it stands."""

    line: int
    text: str
    #: What it says between the underscores.
    word: str

    def __str__(self) -> str:
        return f"{self.text} is no marker and stays as it is"


def slips(content: bytes) -> Iterator[Slip]:
    """Markers without their end, of another case, without some of their underscores."""
    if b"BLACKDYNAMITE__" not in content or b"\0" in content[:_TEXT_PROBE]:
        return
    whole = {found.start() + 2 for found in MARKER.finditer(content)}
    for found in _BEGINNING.finditer(content):
        if found.start() not in whole:
            first = found.start()
            while content[first - 1 : first] == b"_":
                first -= 1
            text = content[first : found.end()].decode()
            word = found.group(1).decode().lower().strip("_")
            yield Slip(content.count(b"\n", 0, first) + 1, text, word)


class _Kept(NamedTuple):
    """A file that was kept, known by its name and times."""

    entry: dict[str, Any]
    #: When it was met first, by a clock that nobody sets.
    met_ns: int
    #: Whether it was read when its times could not be those of a later content any more.
    is_settled: bool


class FileStore:
    """Contents of files under their digests, in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._known: dict[tuple[str | int, ...], _Kept] = {}
        #: Of large files other processes know too what they are, and that they are kept.
        self._large = Remembered(directory.with_name(f"{directory.name}.json"))
        self._contents: set[str] = set()
        #: In which state kept contents were found to be what they are kept as.
        self._proven: dict[str, State] = {}

    def keep(self, file: Path) -> dict[str, Any]:
        """Keep a file's present content; its entry in a manifest.

        A file that has not changed since the last call costs one `stat`, and a large one that
        another process has kept no more. Else it is read and copied by the calling thread,
        which for a large one takes seconds: the run is to have the content of this moment.
        One that was just written may be written again and tell the same times: it is read
        again, until it is older than that.
        """
        now_ns = time.monotonic_ns()
        found = file.stat()
        state = [*state_of(found), found.st_ctime_ns, found.st_mode]
        key: tuple[str | int, ...] = (str(file), *state)
        is_settled = time.time_ns() - found.st_mtime_ns > _TICK_NS
        known = self._known.get(key)
        if known is None:
            entry = self._kept_large(file, found, state, is_settled=is_settled)
            known = self._known[key] = _Kept(entry, now_ns, is_settled)
        elif not known.is_settled:
            entry = known.entry
            if content_digest(file) != entry["hash"]:
                entry = self._copy(file, found)
            is_settled = now_ns - known.met_ns > _TICK_NS
            known = self._known[key] = _Kept(entry, known.met_ns, is_settled)
        return known.entry

    def _kept_large(
        self, file: Path, found: os.stat_result, state: State, *, is_settled: bool
    ) -> dict[str, Any]:
        if found.st_size <= _LARGEST_TEXT:
            return self._copy(file, found)
        entry: dict[str, Any] | None = self._large.get(str(file), state)
        if entry is not None and self._has(entry):
            return entry
        entry = self._copy(file, found)
        if is_settled:
            self._large.put(str(file), state, entry)
            self._large.save()
        return entry

    def _has(self, entry: Mapping[str, Any]) -> bool:
        try:
            return self.path(entry["hash"]).stat().st_size == int(entry["size"])
        except OSError:
            return False

    def keep_content(self, content: bytes) -> str:
        """Keep some content; its digest."""
        name = digest_of(content)
        if name not in self._contents:
            if not self.path(name).exists():

                def write(copy: IO[bytes]) -> str:
                    copy.write(content)
                    return name

                self._put(write)
            self._contents.add(name)
        return name

    def path(self, digest: str) -> Path:
        """Where the content of this digest lies."""
        return self.directory / digest

    def proven(self, digest: str) -> State | None:
        """The state in which what is kept under this digest is that content; None if it has
        become another one.

        It is read by the calling thread, and again only when it may have been written to.
        """
        found = self.path(digest).stat()
        state = [*state_of(found), found.st_ctime_ns]
        if self._proven.get(digest) == state:
            return state
        is_settled = time.time_ns() - found.st_ctime_ns > _TICK_NS
        if content_digest(self.path(digest)) != digest:
            return None
        if is_settled:
            self._proven[digest] = state
        return state

    def _copy(self, file: Path, found: os.stat_result) -> dict[str, Any]:
        has_markers = False

        def write(copy: IO[bytes]) -> str:
            nonlocal has_markers
            digest = hashlib.blake2b(digest_size=20)
            tail = b""
            is_text: bool | None = None
            while chunk := source.read(1 << 20):
                if is_text is None:
                    is_text = b"\0" not in chunk[:_TEXT_PROBE]
                digest.update(chunk)
                copy.write(chunk)
                has_markers = has_markers or (
                    is_text and MARKER.search(tail + chunk) is not None
                )
                tail = chunk[-256:]
            return digest.hexdigest()

        with open(file, "rb") as source:
            name = self._put(write)
        _warn_of_slips(file, self.path(name))
        return {
            "name": file.name,
            "hash": name,
            "size": found.st_size,
            "mode": stat.S_IMODE(found.st_mode) | stat.S_IWUSR,
            "has_markers": has_markers,
        }

    def _put(self, write: Callable[[IO[bytes]], str]) -> str:
        """Keep what ``write`` writes under the digest that it returns; on disk by then."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, aside = tempfile.mkstemp(dir=self.directory, prefix=".new-")
        try:
            with open(handle, "wb") as copy:
                name = write(copy)
                copy.flush()
                os.fsync(copy.fileno())
            os.chmod(aside, 0o400)
            os.replace(aside, self.path(name))
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        force_directory(self.directory)
        return name


def _warn_of_slips(file: Path, copy: Path) -> None:
    if copy.stat().st_size > _LARGEST_TEXT:
        return
    for slip in slips(copy.read_bytes()):
        meant = f"did you mean __BLACKDYNAMITE__{slip.word}__?"
        log.warning("%s:%d: %s; %s", file, slip.line, slip, meant)


def digest_of(content: bytes) -> str:
    """The digest under which some content is stored."""
    return hashlib.blake2b(content, digest_size=20).hexdigest()


def content_digest(file: Path) -> str:
    """The digest under which the content of a file is stored."""
    mark = hashlib.blake2b(digest_size=20)
    with open(file, "rb") as content:
        while chunk := content.read(1 << 20):
            mark.update(chunk)
    return mark.hexdigest()


def given_files(study: StudyConfig) -> list[Path]:
    """The files that every run directory gets, the script last."""
    script, program = study.directory / study.exec_file, study.directory / _PROGRAM
    files = [study.directory / name for name in study.config_files]
    if program not in files and program.exists():
        files.append(program)
    return [*(file for file in files if file != script), script]


def clashes(study: StudyConfig) -> Iterator[Mistake]:
    """Those of the given files that would have the name of another in a run directory."""
    first: dict[str, Path] = {}
    for file in given_files(study):
        other = first.get(file.name)
        if other is None:
            first[file.name] = file
        elif other == file:
            found = f"names {file} twice"
            yield Mistake(str(study.file), 0, "config_files", found, "name it once")
        else:
            found = f"{other} and {file} would both be {file.name} in a run directory"
            allowed = "rename one, or name one alone"
            yield Mistake(str(study.file), 0, "config_files", found, allowed)


class GivenFiles:
    """The files that runs of one study are given, which many runs ask for one by one."""

    def __init__(self, study: StudyConfig) -> None:
        self._study = study
        self._program = study.directory / _PROGRAM
        #: By whether the program is there, which alone may change.
        self._known: dict[bool, list[Path]] = {}

    def present(self) -> list[Path]:
        """Them, the script last; ConfigError if two would have one name."""
        has_program = self._program.exists()
        if has_program not in self._known:
            mistakes = tuple(clashes(self._study))
            if mistakes:
                raise ConfigError(mistakes)
            self._known[has_program] = given_files(self._study)
        return self._known[has_program]


def manifest(store: FileStore, files: Sequence[Path], exec_file: Path) -> dict[str, Any]:
    """What a run created now will be given; ConfigError names files that are missing."""
    mistakes = []
    entries = []
    for file in [*files, exec_file]:
        try:
            entries.append(store.keep(file))
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            why = error.strerror or str(error)
            if Path(str(error.filename)).is_relative_to(store.directory):
                whose = "what runs are given is kept there, by who may write to the workflow"
                mistakes.append(Mistake(str(store.directory), 0, "", why, whose))
                break
            mistakes.append(Mistake(str(file), 0, "", why, "every run needs this file"))
    if mistakes:
        raise ConfigError(mistakes)
    mark = hashlib.blake2b(digest_size=8)
    for entry in entries:
        mark.update(f"{entry['name']}\0{entry['hash']}\0{entry['mode']}\0".encode())
    return {"key": mark.hexdigest(), "exec": exec_file.name, "files": entries}


def differing(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """Names of the files that two manifests do not have alike."""
    contents = [
        {entry["name"]: entry["hash"] for entry in (manifest or {"files": []})["files"]}
        for manifest in (before, now)
    ]
    return sorted({name for name, _ in contents[0].items() ^ contents[1].items()})


def place(store: FileStore, entry: dict[str, Any], run_dir: Path) -> None:
    """Put a file without markers into a run directory, as one of its own.

    It shares its blocks with the kept copy where the file system can do that, and is copied
    elsewhere. A link to the kept copy would let a script change what later runs are given: of a
    file of one's own no permission is final.
    """
    source, target = store.path(entry["hash"]), run_dir / entry["name"]
    if not _cloned(source, target):
        shutil.copyfile(source, target)
    os.chmod(target, entry["mode"])


def _cloned(source: Path, target: Path) -> bool:
    with open(source, "rb") as original, open(target, "wb") as clone:
        try:
            fcntl.ioctl(clone.fileno(), _FICLONE, original.fileno())
        except OSError:
            return False  # another file system, or one that shares no blocks
    return True
