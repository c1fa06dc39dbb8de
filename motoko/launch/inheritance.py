"""Whether an attempt does the work of the one before it: what that has left is for its values.

Values are those of the job, and the declared entries of the run that it was given. What a
script has set itself is a result, and no other value.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from motoko.columns import UNDECLARED
from motoko.config.fields import RUN_LIMITS
from motoko.errors import JobSideError, SchemaError
from motoko.job import layout
from motoko.job.facts import read_facts
from motoko.job.journal import list_journals, read_journal
from motoko.launch.made_for import BEHIND, Change, Values
from motoko.store.codec import is_same
from motoko.store.identity import SET_BY_HAND
from motoko.study.system_dirs import SYSTEM_DIR

if TYPE_CHECKING:
    from motoko.launch.attempt import Attempt
    from motoko.model.schema import Schema


_OF_RUN: Final = "runs."


class Inheritance(NamedTuple):
    """The values that an attempt does its work for, and those that are others than the values
    of what lies in its directory."""

    values: Values
    changes: list[Change]
    #: The first attempt that had these values.
    since: int = 1
    #: Whether these are all: when nothing tells what the attempt before was given, an entry of
    #: the run may as well be a result.
    is_complete: bool = True


def inheritance(attempt: Attempt, schema: Schema) -> Inheritance:
    """What an attempt has to do with what lies in its directory, or was set aside for it."""
    now = values_of(schema, attempt.job, attempt.row)
    if attempt.number == 1:
        return Inheritance(now, [])
    by_hand = {_of_run(name) for name in attempt.row.get(SET_BY_HAND, ())}
    of_run = {name for name in now if name.startswith(_OF_RUN)} - by_hand - {BEHIND}
    certain = {name: value for name, value in now.items() if name not in of_run}
    before = _before(attempt)
    if before is None:
        return Inheritance(certain, [], is_complete=False)
    begun = values_of(schema, before.get("job", {}), before.get("run", {}))
    results = _results(attempt, before, schema)
    changes = [
        Change(name, begun.get(name), value)
        for name, value in now.items()
        if (name in begun or name in by_hand or name == BEHIND)
        and not is_same(value, begun.get(name))
        and not (name in results and is_same(value, results[name]))
    ]
    then = before.get("values")
    is_complete = then is not None and before.get("values_complete", True)
    values = {**(certain if then is None else then), **{c.name: c.new for c in changes}}
    since = attempt.number if changes else before.get("values_since", 1)
    return Inheritance(values, changes, since, is_complete)


def values_of(schema: Schema, job: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a job, and of the declared entries of a run that has them, as JSON has
    them. What a run may use, and where its system lies, are none of them."""
    declared = {*schema.run, *UNDECLARED} - {SYSTEM_DIR, *RUN_LIMITS}
    of_run = {_of_run(name): row[name] for name in declared & row.keys()}
    of_job = {f"jobs.{name}": value for name, value in job.items() if name != "id"}
    return {name: _told(v) for name, v in {**of_job, **of_run}.items() if v is not None}


def default_values(schema: Schema) -> dict[str, Any]:
    """What they are where nobody has given them."""
    of_job = {f"jobs.{f.name}": f.default for f in schema.job.values() if f.has_default}
    of_run = {_of_run(f.name): f.default for f in schema.run.values() if f.has_default}
    return {name: _told(value) for name, value in {**of_job, **of_run}.items()}


def plain(value: Any) -> Any:
    """What JSON lacks, as the nearest thing that it has."""
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _before(attempt: Attempt) -> dict[str, Any] | None:
    """What the one before was told, whose files are still there, or are set aside by now."""
    for place in _places(attempt):
        with suppress(JobSideError):
            facts = read_facts(place)
            if facts["nonce"] != attempt.nonce and facts["run_id"] == attempt.run_id:
                return facts
    return None


def _places(attempt: Attempt) -> tuple[str, str]:
    return attempt.run_dir, layout.attempt_dir(attempt.run_dir, attempt.number - 1)


def _results(attempt: Attempt, before: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The entries that scripts of the attempt before have set, as they were set last."""
    said: list[dict[str, Any]] = []
    for place in _places(attempt):
        for file in list_journals(place, before["attempt"]):
            said += read_journal(Path(file), 0, before["nonce"]).entries
    found: dict[str, Any] = {}
    for entry in sorted(said, key=lambda entry: float(entry["t"])):
        if entry["op"] == "set":
            with suppress(SchemaError, RecursionError):
                name = str(entry.get("name")).lower()
                found[_of_run(name)] = _told(
                    schema.convert_run({name: entry.get("value")})[name]
                )
    return found


def _of_run(name: str) -> str:
    return f"{_OF_RUN}{name}"


def _told(value: Any) -> Any:
    return json.loads(json.dumps(value, default=plain))
