"""The declared parameters of a study's jobs and entries of its runs, and values of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from motoko.columns import FIXED, RUN_ENTRIES, is_motokos
from motoko.config import FieldConfig, StudyConfig
from motoko.config.fields import IDENTIFIER, RUN_LIMITS
from motoko.config.values import (
    JOB_CONVERTERS,
    RUN_CONVERTERS,
    UNSET,
    Refused,
    Unset,
    plain,
    shown,
)
from motoko.errors import SchemaChanged, SchemaError
from motoko.phrases import closest, listed, nearest

#: Entries of every job besides its parameters.
JOB_ENTRIES: Mapping[str, str] = MappingProxyType({"id": "int"})


@dataclass(frozen=True)
class Field:
    """One declared parameter or entry; ``default`` is UNSET when there is none.

    ``backfill`` is what jobs have that were stored before the parameter was declared: its first
    default, which a later change of the default leaves alone. Of an entry of runs, the same is
    what runs have up to ``last_without``, the last one that was made before; UNSET where it had
    no default.
    """

    name: str
    type: str
    default: Any = UNSET
    backfill: Any = UNSET
    last_without: int = 0

    @property
    def has_default(self) -> bool:
        """Whether jobs that do not give it have a value all the same."""
        return self.default is not UNSET


@dataclass(frozen=True)
class Schema:
    """What the jobs and the runs of one study have, in the order of ``bd.yaml``."""

    study: str
    job: Mapping[str, Field]
    run: Mapping[str, Field]
    _job_plan: tuple[tuple[str, Callable[[Any], Any], Any], ...] = field(
        init=False, repr=False, compare=False
    )
    _run_types: Mapping[str, str] = field(init=False, repr=False, compare=False)
    #: The entries that were declared when there were runs already.
    later: tuple[Field, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plan = tuple((f.name, JOB_CONVERTERS[f.type], f.default) for f in self.job.values())
        declared = {f.name: f.type for f in self.run.values()}
        object.__setattr__(self, "_job_plan", plan)
        object.__setattr__(self, "_run_types", {**declared, **RUN_ENTRIES})
        later = tuple(f for f in self.run.values() if f.last_without)
        object.__setattr__(self, "later", later)

    @classmethod
    def from_config(cls, config: StudyConfig) -> Schema:
        """The schema that a study's ``bd.yaml`` declares."""
        return cls(config.study, _declared(config.job), _declared(config.run))

    def to_json(self) -> dict[str, Any]:
        """The schema as plain values, for ``from_json``."""
        return {
            "study": self.study,
            "job": [_field_to_json(f) for f in self.job.values()],
            "run": [_field_to_json(f) for f in self.run.values()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """The schema that ``to_json`` wrote."""
        return cls(
            data["study"], _fields_from_json(data["job"]), _fields_from_json(data["run"])
        )

    def job_type(self, name: str) -> str | None:
        """The type of a job's entry, None for an unknown one."""
        declared = self.job.get(name.lower())
        return declared.type if declared else JOB_ENTRIES.get(name.lower())

    def run_type(self, name: str) -> str | None:
        """The type of a run's built-in or declared entry, None for any other one."""
        return self._run_types.get(name.lower())

    def convert_job(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a job in the one form that equal points share.

        Names are lower case and in the order of ``bd.yaml``. A parameter that is not given, or
        is None, takes its default; without one it is absent. Raises SchemaError for unknown
        names and for values of another type.
        """
        point: dict[str, Any] = {}
        n_used = 0
        name = ""
        try:
            for name, convert, default in self._job_plan:
                value = values.get(name, UNSET)
                if value is not UNSET:
                    n_used += 1
                    if value is not None:
                        point[name] = convert(value)
                        continue
                if default is not UNSET:
                    point[name] = default
        except Refused as refused:
            raise self._refusal(name, self.job[name].type, values[name], refused) from None
        if n_used != len(values):
            return self.convert_job(self._lowered(values))
        return point

    def convert_run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Entries of a run: names in lower case, declared and built-in ones of their type.

        Undeclared entries may be any plain value, and None any entry, declared or not. Raises
        SchemaError for values of another type, and for what no database should keep.
        """
        entries: dict[str, Any] = {}
        for name, value in self.lower_names(values).items():
            kind = self._run_types.get(name)
            if kind is None and not name.isidentifier():
                found = f"found the name {name!r}"
                raise SchemaError(self.study, name, found, f"expected {IDENTIFIER}")
            try:
                if value is None:
                    entries[name] = None
                else:
                    entries[name] = RUN_CONVERTERS[kind](value) if kind else plain(value)
            except Refused as refused:
                raise self._refusal(name, kind, value, refused) from None
        return entries

    def check_own(self, entries: Mapping[str, Any]) -> None:
        """SchemaError for entries that only Motoko itself sets, or gives such a value."""
        for name, value in entries.items():
            if name in FIXED:
                found, allowed = "is kept by Motoko itself", "choose another name"
            elif is_motokos(name, value):
                found = f"found {shown(value)}, which only Motoko itself notes there"
                allowed = "another value, or another name"
            else:
                continue
            raise SchemaError(self.study, name, found, allowed)

    def check_limits(self, entries: Mapping[str, Any]) -> None:
        """SchemaError for entries that a launcher could not act on: no cores, no such time.

        ``entries`` are converted ones. What a study declares as its own may be anything.
        """
        for name, allow in RUN_LIMITS.items():
            value = entries.get(name)
            if value is None or name in self.run:
                continue
            try:
                allow(value)
            except Refused as refused:
                raise self._refusal(name, None, value, refused) from None

    def lower_names(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values by their names in lower case.

        SchemaError for two spellings of one, and for a name that is no text.
        """
        spellings: dict[str, str] = {}
        for given in values:
            if not isinstance(given, str):
                raise SchemaError(self.study, repr(given), "is no name", "a name is text")
            other = spellings.setdefault(given.lower(), given)
            if other != given:
                found = f"given twice, as {other!r} and as {given!r}"
                raise SchemaError(self.study, given.lower(), found, "names ignore case")
        return {given.lower(): value for given, value in values.items()}

    def changes_since(self, old: Schema) -> SchemaChange:
        """How the study was declared differently before."""
        added, removed, retyped, redefaulted = [], [], [], []
        for of, before, after in (("job", old.job, self.job), ("run", old.run, self.run)):
            added += [
                Change(of, f.name, None, f) for f in after.values() if f.name not in before
            ]
            removed += [
                Change(of, f.name, f, None) for f in before.values() if f.name not in after
            ]
            for f in after.values():
                was = before.get(f.name, f)
                if was.type != f.type:
                    retyped.append(Change(of, f.name, was, f))
                elif was.default != f.default:
                    redefaulted.append(Change(of, f.name, was, f))
        return SchemaChange(
            self.study, tuple(added), tuple(removed), tuple(retyped), tuple(redefaulted)
        )

    def later_for(self, run_id: int) -> dict[str, Any]:
        """The entries that were declared after a run was made, with what it has of them."""
        earlier = (f for f in self.later if run_id <= f.last_without)
        return {f.name: f.backfill for f in earlier if f.backfill is not UNSET}

    def extended(self, newer: Schema, last_run_id: int = 0) -> Schema:
        """This schema, that of a database, with what a newer ``bd.yaml`` has in addition.

        Declarations keep their places, and new ones come behind them; defaults are the newer
        ones. Call ``newer.changes_since(self).check()`` first. ``last_run_id`` is that of the
        last run that there is.
        """
        return Schema(
            self.study,
            _extended(self.job, newer.job),
            _extended(self.run, newer.run, last_run_id),
        )

    def _lowered(self, values: Mapping[str, Any]) -> dict[str, Any]:
        lowered = self.lower_names(values)
        for name in lowered:
            if name not in self.job:
                found = f"no such job parameter{nearest(name, self.job)}"
                raise SchemaError(self.study, name, found, f"known: {listed(self.job)}")
        return lowered

    def _refusal(
        self, name: str, kind: str | None, value: Any, refused: Refused
    ) -> SchemaError:
        found = shown(value)
        if refused.value is not UNSET and (part := shown(refused.value)) != found:
            found = f"{part} in {found}"
        expected = f"{refused.expected} ({kind})" if kind else refused.expected
        return SchemaError(self.study, name, f"found {found}", f"expected {expected}")


@dataclass(frozen=True)
class Change:
    """One declaration that was added (``before`` is None), removed or made different."""

    of: str
    name: str
    before: Field | None
    after: Field | None

    def __str__(self) -> str:
        types = [f.type for f in (self.before, self.after) if f is not None]
        return f"{self.of}.{self.name} ({' to '.join(dict.fromkeys(types))})"


@dataclass(frozen=True)
class SchemaChange:
    """What became different in a study's ``bd.yaml``."""

    study: str
    added: tuple[Change, ...] = ()
    removed: tuple[Change, ...] = ()
    retyped: tuple[Change, ...] = ()
    redefaulted: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.retyped or self.redefaulted)

    @property
    def added_to_jobs(self) -> tuple[str, ...]:
        """Names of the parameters that jobs have in addition."""
        return tuple(change.name for change in self.added if change.of == "job")

    @property
    def bare(self) -> tuple[Change, ...]:
        """New parameters of jobs, for which the stored ones have no value."""
        return tuple(
            c for c in self.added if c.of == "job" and c.after and not c.after.has_default
        )

    def check(self, command: str | None = None) -> None:
        """Raise SchemaChanged unless stored jobs and runs still fit.

        They fit when nothing was removed or retyped, and new parameters of jobs have defaults.
        ``command`` is what migrates the study, without its options.
        """
        clauses = [
            f"{what}: {listed(str(change) for change in changes)}"
            for what, changes in (
                ("removed", self.removed),
                ("another type", self.retyped),
                ("added without a default", self.bare),
            )
            if changes
        ]
        if not clauses:
            return
        keys = ", ".join(c.name for c in (*self.removed, *self.retyped, *self.bare))
        advice = self.migration(command or f"motoko study migrate {self.study}")
        if self.removed or self.retyped:
            allowed = f"undo it in bd.yaml, or change what is stored: {advice}"
        else:
            first = self.bare[0]
            kind = first.after.type if first.after else ""
            example = f"{first.name}: {{type: {kind}, default: ...}}"
            allowed = f"give a default ({example}), or fill it in: {advice}"
        raise SchemaChanged(self.study, keys, "; ".join(clauses), allowed)

    def migration(self, command: str) -> str:
        """The command that would bring what is stored in line, with its options."""
        renamed = self._probably_renamed()
        known = {*renamed, *renamed.values()}
        pairs = [f"--rename {old}={new}" for old, new in renamed.items()]
        removed = [c.name for c in self.removed]
        filled = [c.name for c in self.bare]
        likely = [
            *pairs,
            *(f"--remove {name}" for name in removed if name not in known),
            *(f"--fill {name}=VALUE" for name in filled if name not in known),
        ]
        text = f"`{' '.join([command, *likely])}`"
        if not renamed:
            return text
        others = [
            *(f"--remove {name}" for name in renamed),
            *(f"--fill {name}=VALUE" for name in filled if name in known),
        ]
        return f"{text} (where it is no new name for the same: {' '.join(others)})"

    def _probably_renamed(self) -> dict[str, str]:
        """What was removed, and something of the same type that was added instead."""
        found: dict[str, str] = {}
        for gone in self.removed:
            alike = [
                new.name
                for new in self.added
                if new.of == gone.of
                and new.name not in found.values()
                and new.after
                and gone.before
                and new.after.type == gone.before.type
            ]
            if alike:
                found[gone.name] = closest(gone.name, alike) or alike[0]
        return found


def _declared(fields: Mapping[str, FieldConfig]) -> dict[str, Field]:
    return {name: Field(name, f.type, f.default) for name, f in fields.items()}


def _extended(
    old: Mapping[str, Field], newer: Mapping[str, Field], last_run_id: int = 0
) -> dict[str, Field]:
    kept = {
        name: replace(declared, default=newer.get(name, declared).default)
        for name, declared in old.items()
    }
    added = {
        name: declared_later(declared, last_run_id)
        for name, declared in newer.items()
        if name not in old
    }
    return kept | added


def declared_later(declared: Field, last_run_id: int) -> Field:
    """A declaration that comes to what is stored, which has its default from now on."""
    return replace(declared, backfill=declared.default, last_without=last_run_id)


def _field_to_json(declared: Field) -> dict[str, Any]:
    data: dict[str, Any] = {"name": declared.name, "type": declared.type}
    for key in ("default", "backfill"):
        if getattr(declared, key) is not UNSET:
            data[key] = getattr(declared, key)
    if declared.last_without:
        data["last_without"] = declared.last_without
    return data


def _fields_from_json(data: list[dict[str, Any]]) -> dict[str, Field]:
    return {f["name"]: Field(**f) for f in data}


__all__ = [
    "JOB_ENTRIES",
    "UNSET",
    "Change",
    "Field",
    "Schema",
    "SchemaChange",
    "Unset",
]
