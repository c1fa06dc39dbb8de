"""Handles on runs and jobs: a study and an id, resolved in the session of whoever asks.

A handle holds no values, so it stays valid across waits and commits. Entries are read and
written as attributes or items; names are case-insensitive. A declared entry that was never
given is None; a name that is neither declared nor set is an EntryNotFound.
"""

from __future__ import annotations

import copy
import os
import re
from abc import ABC, abstractmethod
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from motoko.columns import FIXED, HIDDEN, RUN_ENTRIES, TELLING
from motoko.errors import EntryNotFound, SchemaError, WorkflowError
from motoko.job.layout import PREFIX
from motoko.model import states
from motoko.store.share import EVERYTHING
from motoko.study import pushing, quantities
from motoko.study.system_dirs import SYSTEM_DIR, placed

if TYPE_CHECKING:
    from pandas import DataFrame

    from motoko.study.study import Study


#: Study and id, with no more digits than an id can have.
_RUN_NAME = re.compile(r"(.+)\.([0-9]{1,18})")


def split_run_name(text: str) -> tuple[str, int]:
    """Study and id of a run that is named ``study.id``. WorkflowError for another form."""
    found = _RUN_NAME.fullmatch(text)
    if found is None:
        raise WorkflowError(f"{text!r} does not name a run; write study.id, as in mult.3")
    return found[1], int(found[2])


#: What an attempt may tell, where nothing of it is known.
_OF_ATTEMPT: Mapping[str, Any] = dict.fromkeys(
    (
        "number",
        "state",
        "class",
        "cause",
        "exit_code",
        "signal",
        "host",
        "pid",
        "start_time",
        "end_time",
        "progress",
        "stderr",
        "retry_at",
        "retry_due",
        "given_more",
        "quantities",
        "warnings",
    )
)

#: Types of values that nobody can change, so that all may have the same one.
_COMMON = frozenset({str, int, float, bool})
_UNCHANGING = _COMMON | {type(None), bytes, complex, date, datetime, time}


class Record(ABC):
    """What runs and jobs share: a mapping from entry names to values, also as attributes."""

    __slots__ = ("id", "study")
    id: int
    study: Study

    def __init__(self, study: Study, record_id: int) -> None:
        object.__setattr__(self, "study", study)
        object.__setattr__(self, "id", record_id)

    @abstractmethod
    def _row(self) -> Mapping[str, Any]:
        """All entries that are set."""

    def _shown(self) -> Mapping[str, Any]:
        """Those of them that users see."""
        return self._row()

    @abstractmethod
    def _declared(self) -> Mapping[str, str]:
        """Names that may be asked for although they are unset, with their types."""

    def _get(self, name: str) -> Any:
        row = self._row()
        name = name.lower()
        if name in row:
            value = row[name]
            return value if type(value) in _UNCHANGING else copy.deepcopy(value)
        if name in self._declared():
            return None
        raise EntryNotFound(str(self), name, sorted({*self._shown(), *self._declared()}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._get(name)

    def __getitem__(self, name: str) -> Any:
        return self._get(str(name))

    @abstractmethod
    def _observe(self, name: str) -> None:
        """Say that the present session rests on this entry."""

    def __contains__(self, name: object) -> bool:
        self._observe(str(name).lower())
        return isinstance(name, str) and name.lower() in self._shown()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def keys(self) -> list[str]:
        """Names of the entries that are set."""
        self._observe(EVERYTHING)
        return list(self._shown())

    def items(self) -> ItemsView[str, Any]:
        """Names and values of the entries that are set."""
        return self.entries.items()

    def get(self, name: str, default: Any = None) -> Any:
        """An entry, or ``default`` where it is unset or unknown."""
        self._observe(name.lower())
        value = self._row().get(name.lower())
        return default if value is None else copy.deepcopy(value)

    @property
    def entries(self) -> dict[str, Any]:
        """All entries that are set, as a mapping of its own."""
        self._observe(EVERYTHING)
        return copy.deepcopy(dict(self._shown()))

    @property
    def types(self) -> dict[str, str]:
        """Names of the declared and built-in entries with the names of their types."""
        return dict(self._declared())

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is type(self)
            and isinstance(other, Record)
            and other.id == self.id
            and other.study is self.study
        )

    def __hash__(self) -> int:
        return hash((type(self).__name__, id(self.study), self.id))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __str__(self) -> str:
        return f"{self.study.name}.{self.id}"


class Job(Record):
    """One point of a study's parameter space. Jobs do not change."""

    __slots__ = ()

    def _observe(self, name: str) -> None:
        """Nothing to say: jobs do not change."""

    def _row(self) -> Mapping[str, Any]:
        return self.study.job_row(self.id)

    def _declared(self) -> Mapping[str, str]:
        return {"id": "int", **{name: f.type for name, f in self.study.schema.job.items()}}

    def __setattr__(self, name: str, value: Any) -> None:
        raise SchemaError(self.study.name, name, "a job cannot be changed", "set it on a run")

    def __str__(self) -> str:
        return f"job {self.study.name}.{self.id}"


class Run(Record):
    """One execution of a job. Setting an entry is part of the current session.

    Reading gives a copy: after changing a list or an array in place, assign it again.
    """

    __slots__ = ()
    state: str

    def _observe(self, name: str) -> None:
        self.study.observe(self.id, name)

    def _row(self) -> Mapping[str, Any]:
        row = placed(self.study.run_row(self.id), self.study.directory)
        return {**row, **self._places(row)}

    def _shown(self) -> Mapping[str, Any]:
        return {name: value for name, value in self._row().items() if name not in HIDDEN}

    def _places(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "run_path": str(self.directory),
            "workflow": str(self.study.workflow_file or ""),
            "exec": self.study.config.exec_file,
        }

    def _declared(self) -> Mapping[str, str]:
        return {**RUN_ENTRIES, **{name: f.type for name, f in self.study.schema.run.items()}}

    def _get(self, name: str) -> Any:
        name = name.lower()
        value = self.study.run_with(self.id, name).get(name)  # mostly no place is asked for
        is_plain = type(value) in _COMMON and name != SYSTEM_DIR
        return value if is_plain else super()._get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name) and name not in FIXED:
            found = f"{name!r} is something that every run can do"
            raise SchemaError(
                self.study.name, name, found, f"an entry so named is run[{name!r}]"
            )
        self.update_entries({name: value})

    def __setitem__(self, name: str, value: Any) -> None:
        self.update_entries({name: value})

    def update_entries(self, changes: Mapping[str, Any]) -> None:
        """Set several entries at once; None removes one.

        Raises SchemaError for an entry that is not the user's to set or a value of the wrong
        type, and InvalidTransition for a state that may not follow the present one.
        """
        changes = self.study.schema.lower_names(changes)
        self.study.schema.check_own(changes)
        if telling := TELLING & changes.keys():
            before = self.study.run_row(self.id)
            self.study.schema.check_own({name: before.get(name) for name in telling})
        if "state" in changes:
            try:
                changes["state"] = states.normalise(changes["state"])
            except ValueError as error:
                found = f"found {changes['state']!r}"
                raise SchemaError(
                    self.study.name, "state", found, "a state is text that is not empty"
                ) from error
        self.study.update_run(self.id, changes)

    @property
    def job(self) -> Job:
        """The job that this run executes."""
        return Job(self.study, self.job_id)

    @property
    def directory(self) -> Path:
        """Where the run executes, once it was launched; of one that was imported, and not
        executed here, where it was executed."""
        return self.study.files_dir(self.id)

    def file(self, name: str) -> Path:
        """The path of a file of this run; ValueError if it would lie outside of it."""
        return quantities.inside(self.directory, name)

    def list_files(self, pattern: str = "*") -> list[str]:
        """Names of the files in the run directory that match a pattern, sorted."""
        return sorted(p.name for p in self.directory.glob(pattern) if p.is_file())

    def start(self) -> None:
        """Say that the run has begun."""
        self.state = states.RUNNING

    def finish(self) -> None:
        """Say that the run has ended well."""
        self.state = states.FINISHED

    def fail(self) -> None:
        """Say that the run has ended badly."""
        self.state = states.FAILED

    def update(self) -> None:
        """Nothing to do: a handle always shows what its session sees."""

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """What is recorded of each attempt, oldest first; None for what is not known of it."""
        return [{**_OF_ATTEMPT, **known} for known in self.study.attempts(self.id)]

    def get_quantity(self, name: str, step: int | None = None) -> DataFrame:
        """All rows of a quantity (or those of one step) from the run directory.

        Needs pandas, and raises JobSideError without it; EntryNotFound for an unknown name.
        """
        return quantities.read(self.directory, name, step)

    def last_quantities(self) -> dict[str, tuple[Any, Any]]:
        """Step and last value of each quantity, from the database."""
        return self.study.quantities(self.id)

    def push_quantity(
        self, values: Any, step: Any, name: str, description: str | None = None
    ) -> None:
        """Append values of a quantity to its file, as the run's script does: one row for a
        step, or one for each of several. It is done at once, and never in an action."""
        pushing.push(self.study, self.id, values, step, name, description)

    pushQuantity = push_quantity
    pushScalarQuantity = push_quantity
    pushVectorQuantity = push_quantity
    pushScalarQuantities = push_quantity

    getQuantity = get_quantity
    getScalarQuantity = get_quantity
    getVectorQuantity = get_quantity

    def get_quantities(self, names: Iterable[str], step: int | None = None) -> DataFrame:
        """Several quantities side by side in a table; NaN for steps that one lacks."""
        return quantities.read_several(self.directory, names, step)

    getQuantities = get_quantities

    def getLastStep(self) -> tuple[int | None, float | None]:
        """The step that was pushed last, and when."""
        return self.last_step, self.last_step_time

    def listFiles(self, subdir: str = "") -> list[str]:
        """Names in the run's directory or one below it, sorted, without Motoko's own."""
        directory = self.directory
        is_there = bool(subdir) or directory.exists()
        names = os.listdir(quantities.inside(directory, subdir)) if is_there else []
        return sorted(name for name in names if not name.startswith(PREFIX))

    def getFile(self, name: str) -> str:
        """The path of a file of this run, as text."""
        return str(self.file(name))

    def getFullFileName(self, name: str) -> str:
        """The absolute path of a file of this run, as text."""
        return str(self.file(name))

    def listQuantities(self) -> list[str]:
        """Names of the quantities of this run, sorted."""
        return sorted({*self.last_quantities(), *quantities.names(self.directory)})

    def __str__(self) -> str:
        return f"{self.study.name}.{self.id}"


class Pairs(Sequence[tuple[Run, Job]]):
    """Runs of one study with their jobs, each looked up when it is asked for."""

    def __init__(self, study: Study, ids: Sequence[int]) -> None:
        self.study = study
        self.ids = ids

    @overload
    def __getitem__(self, index: int) -> tuple[Run, Job]: ...
    @overload
    def __getitem__(self, index: slice) -> Pairs: ...
    def __getitem__(self, index: int | slice) -> tuple[Run, Job] | Pairs:
        if isinstance(index, slice):
            return Pairs(self.study, self.ids[index])
        return self.study.pair(self.ids[index])

    def __iter__(self) -> Iterator[tuple[Run, Job]]:
        return self.study.each_pair(self.ids)

    def __len__(self) -> int:
        return len(self.ids)
