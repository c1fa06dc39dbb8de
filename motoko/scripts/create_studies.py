"""``motoko create`` as a function, for helper scripts that call it so."""

from __future__ import annotations

from typing import Any

from motoko.workflow.workflow import Workflow


def main(args: Any) -> None:
    """Make the databases of the workflow in ``args.directory``; with ``args.validated`` what is
    there goes into a dated backup first."""
    workflow = Workflow(str(getattr(args, "directory", None) or "."))
    try:
        workflow.create(validated=bool(getattr(args, "validated", False)))
    finally:
        workflow.close()
