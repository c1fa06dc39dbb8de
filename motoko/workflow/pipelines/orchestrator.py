"""What orchestrates a workflow whose ``motoko.yaml`` has a pipeline, and no orchestrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


async def pipeline(workflow: Workflow, **params: Any) -> None:
    """Run it; the workflow is finished then."""
    await workflow.run_pipeline()
    workflow.finished = True
