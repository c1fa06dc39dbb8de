"""Run directories: made with the files that a run was created with.

What an attempt starts with is the same each time: the files of the run's manifest, and
``.motoko-run.json``. Everything else that the attempt before it left (standard output and
error, journals, token, outcome, sentinels, quantities, whatever its program wrote) is moved
into ``attempt-<n>/`` first, n being that attempt's number; files of the manifest are placed
anew, since the script may have changed them. What the study carries over stays in place, as
long as the run has the values that it was left for. A directory that nobody knows of (left by a
database that is gone) is set aside as ``attempt-0`` as a whole: another run has left it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from motoko.columns import HIDDEN, RUN_ENTRIES
from motoko.crashpoints import reached
from motoko.errors import ArchiveDamaged, SubmissionFailed
from motoko.job import layout
from motoko.job.facts import FORMAT, write_all
from motoko.launch.attempt import Attempt
from motoko.launch.cleaning import check_not_cleaned
from motoko.launch.environment import database_host
from motoko.launch.inheritance import Inheritance, inheritance, plain
from motoko.launch.made_for import in_words
from motoko.launch.markers import Template, marker_values
from motoko.phrases import listed
from motoko.store.codec import TAG_BYTES, encode
from motoko.study import files, moving
from motoko.study.archive import archive_of, bring_back, own_entries
from motoko.study.study import Study

#: Files up to this size are kept in memory between runs.
_SMALL = 1 << 16
_MOST_KITS = 64
#: Types whose values JSON gives back as they were.
_EXACT = (str, int, float, bool)
#: What belongs to one attempt, and what to all that do the same work, whatever is carried over.
_OF_ATTEMPT = frozenset({layout.FINISHED, layout.FAILED})
_OF_WORK = frozenset({layout.JOB_ATTEMPT, layout.PROGRESS})


class Kit:
    """The files of one manifest, ready to be placed again and again."""

    def __init__(self, store: files.FileStore, manifest: Mapping[str, Any]) -> None:
        self.exec_file: str = manifest["exec"]
        self._store = store
        self._small: list[tuple[str, int, bytes]] = []
        self._templates: list[tuple[str, int, Template]] = []
        self._large: list[dict[str, Any]] = []
        #: Names of files of which another content is kept than the one of the run's creation.
        self.altered: list[str] = []
        for entry in manifest["files"]:
            name, mode = entry["name"], entry["mode"]
            if not entry["has_markers"] and entry["size"] > _SMALL:
                self._large.append(entry)
                continue
            content = store.path(entry["hash"]).read_bytes()
            if files.digest_of(content) != entry["hash"]:
                self.altered.append(name)
            if entry["has_markers"]:
                template = Template(content, name, is_script=name == self.exec_file)
                self._templates.append((name, mode, template))
            else:
                self._small.append((name, mode, content))
        self.names = frozenset(entry["name"] for entry in manifest["files"])

    @property
    def has_markers(self) -> bool:
        """Whether the files differ between runs."""
        return bool(self._templates)

    @property
    def has_large(self) -> bool:
        """Whether placing the files may take long."""
        return bool(self._large)

    def place(self, run_dir: str, values: Mapping[str, Any]) -> None:
        """Put all files into a directory that has none of them; MarkerUnset or MarkerUnsafe
        before the first one is written, when a marker has no value or none that fits.

        Names of files are in ``altered`` then whose kept copy has not proved to be what it was.
        """
        filled = [
            (name, mode, template.fill(values)) for name, mode, template in self._templates
        ]
        for name, mode, content in (*self._small, *filled):
            _write(f"{run_dir}/{name}", mode, content)
        self.altered = [e["name"] for e in self._large if not self._is_placed(e, run_dir)]

    def _is_placed(self, entry: dict[str, Any], run_dir: str) -> bool:
        before = self._store.proven(entry["hash"])
        if before is None:
            return False
        files.place(self._store, entry, Path(run_dir))
        return self._store.proven(entry["hash"]) == before


class RunDirs:
    """Makes the run directories of a study."""

    def __init__(self, study: Study, knock: str) -> None:
        self._study = study
        self._parent = str(study.runs_dir)
        self._kits: dict[str, Kit] = {}
        self._places = {
            "dbhost": database_host(study),
            "study": study.config.study,
            "workflow": str(study.workflow_file or ""),
            "exec": study.config.exec_file,
        }
        self._facts = {
            "format": FORMAT,
            "study": study.config.study,
            "study_dir": str(study.directory),
            "workflow": self._places["workflow"],
            "knock": knock,
            "job_types": {name: f.type for name, f in study.schema.job.items()},
            "run_types": {
                **RUN_ENTRIES,
                **{name: f.type for name, f in study.schema.run.items()},
            },
        }

    def make(self, attempt: Attempt, generation: str, kit: Kit) -> None:
        """Make the directory of an attempt that is about to start, with the files of its kit.

        Doing it again after it was interrupted is harmless. Safe to call in a thread. Raises
        MarkerUnset, MarkerUnsafe, SubmissionFailed or OSError.
        """
        run_dir = attempt.run_dir
        self._bring_back(attempt)
        inherited = inheritance(attempt, self._study.schema)
        try:
            Path(run_dir).mkdir()
        except FileNotFoundError:
            self._study.directory.stat()  # nothing is made where a study was moved away from
            Path(run_dir).mkdir(parents=True)
        except FileExistsError:
            check_not_cleaned(self._study)
            self._clear(attempt, kit, inherited)
        else:
            reached("rundir.made")
        values: Mapping[str, Any] = {}
        if kit.has_markers:
            places = {**self._places, "run_path": run_dir}
            values = marker_values(attempt.job, attempt.row, places)
        kit.place(run_dir, values)
        _check_unaltered(attempt, kit)
        reached("rundir.placed")
        _write(layout.run_file(run_dir), 0o666, self._run_file(attempt, generation, inherited))
        reached("rundir.described")

    def kit(self, attempt: Attempt) -> Kit:
        """The files that an attempt is given. Raises SubmissionFailed or OSError."""
        key = str(attempt.row.get("files"))
        kit = self._kits.get(key)
        if kit is None:
            if attempt.manifest is None:
                why = "the database does not say which files it needs"
                raise SubmissionFailed(attempt.title, why, transient=False)
            if len(self._kits) >= _MOST_KITS:
                self._kits.clear()
            try:
                kit = Kit(self._study.files, attempt.manifest)
            except FileNotFoundError as error:
                why = f"its files as they were at its creation are lost ({error.filename})"
                raise SubmissionFailed(attempt.title, why, transient=False) from error
            _check_unaltered(attempt, kit)
            self._kits[key] = kit
        return kit

    def _bring_back(self, attempt: Attempt) -> None:
        """Unpack what the attempts before it have left, if that is packed away."""
        archive = archive_of(attempt.row)
        if archive is None:
            return
        check_not_cleaned(self._study)
        try:
            bring_back(self._study, attempt.run_id, archive)
        except ArchiveDamaged as error:
            attempt.warn(f"what the attempts before it have left is not brought back: {error}")

    def _clear(self, attempt: Attempt, kit: Kit, inherited: Inheritance) -> None:
        moving.make_writable(Path(attempt.run_dir))
        for name in kit.names:
            moving.remove(Path(attempt.run_dir, name))
        if _is_of(attempt):
            Path(layout.run_file(attempt.run_dir)).unlink()
            return
        aside = Path(layout.attempt_dir(attempt.run_dir, attempt.number - 1))
        if inherited.changes and self._study.config.carry_over:
            attempt.warn(f"nothing is carried over to it: {in_words(inherited.changes)}")
        names = self._left(attempt, aside, inherited)
        moving.check_movable(Path(attempt.run_dir, name) for name in names)
        if names:
            _make_room(aside)
            aside.mkdir(exist_ok=True)
        for name in names:
            target = aside / name
            moving.remove(target)
            reached("rundir.clearing")
            moving.move(Path(attempt.run_dir, name), target)
        reached("rundir.cleared")

    def _left(self, attempt: Attempt, aside: Path, inherited: Inheritance) -> list[str]:
        """What is to be set aside. The run's file is the last: as long as it is there, that is
        not done."""
        names = os.listdir(attempt.run_dir)
        if attempt.number == 1:  # another run has left all of it
            names = [name for name in names if name != aside.name]
        else:
            names = [name for name in names if not self._stays(name, inherited)]
        return sorted(names, key=lambda name: name == layout.RUN_FILE)

    def _stays(self, name: str, inherited: Inheritance) -> bool:
        """Whether a file stays where it is when an attempt is set aside."""
        if layout.is_attempt_dir(name):
            return True
        patterns = self._study.config.carry_over
        if (
            inherited.changes
            or not patterns
            or name in _OF_ATTEMPT
            or name.startswith(layout.PREFIX)
        ):
            return False
        return name in _OF_WORK or any(fnmatchcase(name, pattern) for pattern in patterns)

    def _run_file(self, attempt: Attempt, generation: str, inherited: Inheritance) -> bytes:
        run = {k: v for k, v in own_entries(attempt.row).items() if k not in HIDDEN}
        facts = {
            **self._facts,
            "run_id": attempt.run_id,
            "job_id": attempt.row["job_id"],
            "attempt": attempt.number,
            "nonce": attempt.nonce,
            "generation": generation,
            "run_path": attempt.run_dir,
            "job": attempt.job,
            "run": {**run, "run_path": attempt.run_dir, "exec": self._places["exec"]},
            "values": inherited.values,
            "values_complete": inherited.is_complete,
            "values_since": inherited.since,
            "last_attempt": _told_of(attempt.before),
            "rebuild": {
                "files": attempt.manifest,
                "task": attempt.task.hex(),
                **_inexact(job=attempt.job, run=run),
            },
        }
        return json.dumps(facts, default=plain).encode() + b"\n"


def _make_room(aside: Path) -> None:
    """Give what was set aside to its end there a place within what is set aside now."""
    if not Path(layout.run_file(aside)).exists():
        return
    around = aside.with_name(f"{layout.PREFIX}aside")
    around.mkdir(exist_ok=True)
    moving.move(aside, around / aside.name)
    reached("rundir.clearing")
    moving.move(around, aside)


def _told_of(before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a script may want to know of the attempt before its own."""
    if not before:
        return None
    names = ("number", *layout.LAST_VARIABLES.values())
    return {name: before[name] for name in names if name in before}


def _inexact(**values: Mapping[str, Any]) -> dict[str, str]:
    """What JSON would not give back as it is, as the database writes it."""
    found = {}
    for kind, entries in values.items():
        others = {k: v for k, v in entries.items() if type(v) not in _EXACT}
        raw = encode(others) if others else b""
        if TAG_BYTES in raw:
            found[kind] = raw.decode("utf-8", "surrogatepass")
    return found


def _is_of(attempt: Attempt) -> bool:
    """Whether the directory was cleared for this attempt before; half a file says no."""
    try:
        with open(layout.run_file(attempt.run_dir), "rb") as file:
            return bool(json.loads(file.read())["nonce"] == attempt.nonce)
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError, RecursionError):
        Path(layout.run_file(attempt.run_dir)).unlink()
        return False


def _write(path: str, mode: int, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        reached("rundir.touched")
        write_all(fd, content)
    except OSError:
        Path(path).unlink()
        raise
    finally:
        os.close(fd)


def _check_unaltered(attempt: Attempt, kit: Kit) -> None:
    if kit.altered:
        why = (
            f"what was kept of its files at its creation has been changed since"
            f" ({listed(kit.altered)}): motoko repair finds it again where a copy lies"
        )
        raise SubmissionFailed(attempt.title, why, transient=False)
