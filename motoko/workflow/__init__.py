"""Workflows: events start runs.

The documented names are handed on from the modules that define them, when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motoko.workflow.actions import (
        ActionRegistry,
        EventCallback,
        EventCondition,
        no_action,
    )
    from motoko.workflow.firings import event
    from motoko.workflow.variables import WorkflowVars
    from motoko.workflow.workflow import Workflow

__all__ = [
    "ActionRegistry",
    "EventCallback",
    "EventCondition",
    "Workflow",
    "WorkflowVars",
    "event",
    "no_action",
]

_HOMES = {
    "ActionRegistry": "actions",
    "EventCallback": "actions",
    "EventCondition": "actions",
    "Workflow": "workflow",
    "WorkflowVars": "variables",
    "event": "firings",
    "no_action": "actions",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
