"""New values for runs and their jobs, as a command line has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.columns import FIXED, RUN_ENTRIES, UNDECLARED
from motoko.config.fields import RUN_LIMITS
from motoko.config.values import JOB_CONVERTERS, RUN_CONVERTERS, Refused
from motoko.errors import SchemaError
from motoko.model import states
from motoko.model.operands import Converters, typed
from motoko.phrases import listed, nearest

if TYPE_CHECKING:
    from motoko.study.study import Study

#: The entries that link a run with other values to the run that it was made from.
RETRY_OF, RETRIED_AS = "retry_of", "retried_as"


class Values(NamedTuple):
    """New values: of a run's own entries, and of its job."""

    run: dict[str, Any]
    job: dict[str, Any]


def read_values(study: Study, pairs: Mapping[str, str], *, with_new: bool = False) -> Values:
    """Values as a command line has them. SchemaError for what cannot be one.

    A name that job and run both have is the run's; ``jobs.x`` and ``runs.x`` say which. An
    entry or a state that no run of the study has is a slip, unless ``with_new`` are meant.
    """
    values = Values({}, {})
    for written, text in pairs.items():
        of, _, name = written.lower().rpartition(".")
        is_job = name in study.schema.job and (of == "jobs" or name not in study.schema.run)
        if is_job and of != "runs":
            values.job[name] = _value(
                study, name, study.schema.job[name].type, text, JOB_CONVERTERS
            )
            continue
        if name in FIXED or of not in ("", "runs"):
            raise SchemaError(study.name, written, "is not yours to set", "name an entry")
        declared = study.schema.run.get(name)
        kind = declared.type if declared else RUN_ENTRIES.get(name)
        values.run[name] = _value(study, name, kind, text, RUN_CONVERTERS)
    if "state" in values.run:
        values.run["state"] = _state(study, values.run["state"])
    converted = study.schema.convert_run(values.run)
    study.schema.check_own(converted)
    study.schema.check_limits(converted)
    if not with_new:
        _check_known(study, converted)
    return Values(converted, values.job)


def _check_known(study: Study, entries: Mapping[str, Any]) -> None:
    config = study.config
    with study.database.read() as tables:
        named = {*tables.entries, *config.run_params, *config.run_space, *UNDECLARED}
        in_use = {state for _, state, n_runs in tables.groups.counted() if n_runs}
    known = sorted({*RUN_ENTRIES, *RUN_LIMITS, *study.schema.run, *named} - FIXED)
    for name in entries:
        if name not in known:
            allowed = f"--new makes it one; known: {listed(known)}"
            found = f"is no entry of any run{nearest(name, known)}"
            raise SchemaError(study.name, name, found, allowed)
    state = entries.get("state")
    usual = [*states.BUILT_IN, *sorted(in_use - {*states.BUILT_IN})]
    if state is not None and state not in usual:
        found = f"found {state!r}, which no run is in{nearest(state, usual)}"
        allowed = f"--new makes it a state; known: {listed(usual)}"
        raise SchemaError(study.name, "state", found, allowed)


def _state(study: Study, text: Any) -> str:
    try:
        state = states.normalise(text)
    except ValueError:
        found = f"found {text!r}"
        raise SchemaError(study.name, "state", found, "a state is not empty") from None
    if state in states.ACTIVE:
        why = f"found {state!r}, which only a launcher gives, to a run that it executes"
        raise SchemaError(study.name, "state", why, "CREATED has it take the run")
    return state


def _value(study: Study, name: str, kind: str | None, text: str, converters: Converters) -> Any:
    if kind is None:
        try:
            return json.loads(text)
        except ValueError:
            return text
    try:
        return typed(kind, text, converters)
    except Refused as refused:
        found, allowed = f"found {text!r}", f"expected {refused.expected}"
        raise SchemaError(study.name, name, found, allowed) from None


def read_retry_values(
    study: Study, pairs: Mapping[str, str], *, with_new: bool = False
) -> Values:
    """New values of runs that are tried again, whose state is none of them."""
    for written in pairs:
        if written.lower().rpartition(".")[2] == "state" and "state" not in study.schema.job:
            why = "is CREATED for runs that are tried again"
            raise SchemaError(study.name, "state", why, "`motoko runs update` sets another")
    return read_values(study, pairs, with_new=with_new)
