"""What becomes of a system when one of its phases has failed."""

from __future__ import annotations

from typing import Any

from motoko.config.policy import FailurePolicy, read_policy
from motoko.config.retry import Retry
from motoko.config.values import Refused
from motoko.errors import PipelineError

#: What a function has that no study speaks for: it is not called again.
OF_FUNCTIONS = FailurePolicy(Retry({}))


def policy_of(of_pipeline: Any, of_study: FailurePolicy = OF_FUNCTIONS) -> FailurePolicy:
    """That of the pipeline if it has one, above that of the study; PipelineError for what is
    none.

    Runs are tried again by the launcher. ``last`` is what is left for the pipeline: ``keep``
    lets later phases of the system wait, since an action may put the runs to CREATED; ``prune``
    leaves them out; ``raise`` ends the workflow.
    """
    if of_pipeline is None:
        return of_study
    try:
        return read_policy(of_pipeline).over(of_study)
    except Refused as refused:
        raise PipelineError(
            f"on_failure={of_pipeline!r}: expected {refused.expected}"
        ) from None
