"""Workflows: events start runs.

The documented names are handed on from the modules that define them.
"""

from __future__ import annotations

from motoko.workflow.actions import ActionRegistry, EventCallback, EventCondition, no_action
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
