"""For which values files were made that say of work that it is finished.

Whoever begins work that files are declared to speak of notes for which values that is, beside
the database and not among the files. From then on what is there already does not say that work
for other values is finished, until it is written again. Files that nobody has noted anything of
(somebody has put them there) are believed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from motoko.columns import BEHIND as BEHIND_RUNS
from motoko.durable import replace_file
from motoko.job.layout import FINISHED
from motoko.job.phases import Look, PhaseFiles
from motoko.phrases import listed
from motoko.store.codec import is_same

#: Where it is noted, below the directory of a study's state, or of a workflow's.
DIRECTORY: Final = "made-for"
_MOST_SHOWN: Final = 3
#: The value that says what work was done behind, if it had been done behind something else.
BEHIND: Final = f"runs.{BEHIND_RUNS}"

#: Values by their names, as JSON has them.
Values = Mapping[str, Any]


class Change(NamedTuple):
    """A value that is another one."""

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.name} {self.old!r} -> {self.new!r}"


def in_words(changes: Sequence[Change]) -> str:
    """Some values that are other ones."""
    more = [f"{len(changes) - _MOST_SHOWN} more"] if len(changes) > _MOST_SHOWN else []
    return listed([*map(str, changes[:_MOST_SHOWN]), *more])


def differing(then: Values, now: Values, defaults: Values | None = None) -> list[Change]:
    """What is other than it was, where what is declared since has had its default.

    What came before counts only for work that is done behind something else than the first
    time.
    """
    then = {**(defaults or {}), **then}
    names = {*then, *now} - {BEHIND} | ({BEHIND} & now.keys())
    return [
        Change(name, then.get(name), now.get(name))
        for name in sorted(names)
        if not is_same(then.get(name), now.get(name))
    ]


class Notes:
    """What is noted of the files that a study, or a function of a workflow, is known by."""

    def __init__(self, state_dir: Path, of: str, home: Path) -> None:
        """``of`` is the study or the step; places are told from ``home``."""
        self._directory = state_dir / DIRECTORY
        self._of = of
        self._home = home

    def read(self, place: Path) -> dict[str, Any]:
        """By unit; what a machine without power has cut short says nothing."""
        try:
            found = json.loads(self._file(place).read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        return found["units"] if isinstance(found, dict) and "units" in found else {}

    def write(self, place: Path, units: Mapping[str, Any]) -> None:
        """Keep this of the units of a place."""
        file = self._file(place)
        file.parent.mkdir(exist_ok=True)
        said = {"of": self._of, "place": self._name(place), "units": units}
        replace_file(file, [json.dumps(said).encode()])

    def _file(self, place: Path) -> Path:
        name = blake2b(f"{self._of}\0{self._name(place)}".encode(), digest_size=16).hexdigest()
        return self._directory / f"{name}.json"

    def _name(self, place: Path) -> str:
        """A place as it is in each place of the workflow."""
        path, home = os.path.abspath(place), os.path.abspath(self._home)
        if path != home and not path.startswith(f"{home}{os.sep}"):
            return path
        return f"{os.curdir}{os.sep}{os.path.relpath(path, home)}"


class Purpose(NamedTuple):
    """The values that work is done for, and where that is noted."""

    notes: Notes
    values: Values
    #: What values are that nobody has given.
    defaults: Values = MappingProxyType({})
    #: Whether these are all; those that are not known are taken to be what is noted.
    is_complete: bool = True


class Made:
    """The files of a phase in their place, and for which values they were made."""

    def __init__(self, files: PhaseFiles, place: Path, purpose: Purpose | None) -> None:
        """Without a ``purpose`` all files are believed."""
        self._files = files
        self._place = place
        self._purpose = purpose
        self._noted = {} if purpose is None else purpose.notes.read(place)

    def look(self, before: Mapping[str, Sequence[int]] | None = None) -> Look:
        """What the files say of work for these values."""
        others = {p: how for unit in self._files.units for p, how in self._others(unit)}
        return self._files.look(self._place, before, others)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to be done."""
        return bool(self.look().state == FINISHED)

    @property
    def is_believed(self) -> bool:
        """Whether files are there of which nobody knows for which values they were made."""
        return self._purpose is not None and any(
            state == FINISHED and _key(unit) not in self._noted
            for unit, state in self.look().units.items()
        )

    @property
    def changes(self) -> list[Change]:
        """What was other for files that are there."""
        found: dict[str, Change] = {}
        for unit in self._files.units:
            if next(self._others(unit), None) is not None:
                found |= {change.name: change for change in self._changes(unit)}
        return list(found.values())

    def begin(self) -> None:
        """Note for which values what is not finished is done from now on; sentinels and records
        of progress of other work are removed from the directories of its units."""
        if self._purpose is None:
            return
        noted = dict(self._noted)
        for unit, state in self.look().units.items():
            values = self._values(unit)
            if state != FINISHED and values is not None:
                noted[_key(unit)] = {"values": values, "others": dict(self._others(unit))}
        for unit in self._files.units:
            if self._changes(unit):
                self._files.forget_work(self._place, unit)
        if noted != self._noted:
            self._purpose.notes.write(self._place, noted)
        self._noted = noted

    def conclude(self) -> None:
        """The work has come to a good end: what is there is of it, also what it has found."""
        if self._purpose is None or not any(note["others"] for note in self._noted.values()):
            return
        for unit in self._files.units:
            note = self._noted.get(_key(unit))
            if note is not None and not self._changes(unit):
                note["others"] = {}
        with suppress(OSError):  # then it is done anew, if anybody asks for it again
            self._purpose.notes.write(self._place, self._noted)

    def _changes(self, unit: tuple[str, str]) -> list[Change]:
        note, values = self._noted.get(_key(unit)), self._values(unit)
        if note is None or values is None or self._purpose is None:
            return []
        return differing(note["values"], values, self._purpose.defaults)

    def _values(self, unit: tuple[str, str]) -> dict[str, Any] | None:
        """What the work of a unit is done for; None if too little of that is known."""
        if self._purpose is None:
            return None
        if self._purpose.is_complete:
            return dict(self._purpose.values)
        note = self._noted.get(_key(unit))
        return None if note is None else {**note["values"], **self._purpose.values}

    def _others(self, unit: tuple[str, str]) -> Iterator[tuple[str, list[int]]]:
        """The files of a unit that were made for other values, and how they are."""
        note = self._noted.get(_key(unit))
        if note is not None and self._changes(unit):
            yield from self._files.successes(self._place, unit).items()
        elif note is not None:
            yield from note["others"].items()


def _key(unit: tuple[str, str]) -> str:
    return "/".join(unit)
