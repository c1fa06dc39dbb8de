"""Limits that are changed while a workflow runs: facts that stand above its files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from motoko.errors import WorkflowError
from motoko.launch.work import LIMITS
from motoko.phrases import listed, nearest
from motoko.workflow import control

if TYPE_CHECKING:
    from motoko.store.tables import Tables
    from motoko.workflow.workflow import Workflow

#: What can be changed.
NAMES = ("max_concurrent", "max_submitted")
_WRITTEN = re.compile(r"(?:([\w-]+)\.)?(\w+)=(\d*)")


class Limit(NamedTuple):
    """A limit of one study, or without one of all together; None is what the files say."""

    study: str | None
    name: str
    value: int | None


def read_limit(workflow: Workflow, text: str) -> Limit:
    """What ``[study.]name=number`` means; WorkflowError for what is none."""
    found = _WRITTEN.fullmatch(text)
    value = None if found is None or not found[3] else int(found[3])
    if found is None or value == 0:
        raise WorkflowError(
            f"{text!r} sets no limit: expected [STUDY.]NAME=NUMBER, 1 at least, as in"
            " solve.max_concurrent=20; without a number, what the files say"
        )
    if found[2] not in NAMES:
        raise WorkflowError(
            f"{found[2]!r} is no limit that can be set{nearest(found[2], NAMES)}"
            f" (known: {listed(NAMES)})"
        )
    study = workflow.task_manager(found[1]).base.name if found[1] else None
    return Limit(study, found[2], value)


def limits(tables: Tables) -> Mapping[str, int]:
    """Those that somebody has set in a study."""
    found: Mapping[str, int] = tables.fact(LIMITS) or {}
    return found


def set_limits(workflow: Workflow, given: list[Limit]) -> None:
    """Let these hold from now on, for later launchers too."""
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        record(workflow, given)


def record(workflow: Workflow, given: list[Limit]) -> None:
    """The same, where the databases are served."""
    for manager in workflow.task_managers.values():
        study = manager.base
        own = [one for one in given if one.study in (None, study.name)]

        def change(tables: Tables, own: list[Limit] = own) -> None:
            known = dict(limits(tables))
            for one in own:
                key = one.name if one.study is not None else f"workflow.{one.name}"
                known.pop(key, None)
                if one.value is not None:
                    known[key] = one.value
            if known != limits(tables):
                tables.set_fact(LIMITS, known or None)

        study.database.write(change)
