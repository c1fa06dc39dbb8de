"""What becomes of a system when one of its phases has failed, and is not tried again."""

from __future__ import annotations

from typing import Any, Final

from motoko.errors import PipelineError

KEEP: Final = "keep"  # its later phases wait; an action may put the runs to CREATED
PRUNE: Final = "prune"  # the system leaves out its later phases
RAISE: Final = "raise"  # the workflow ends
_WORDS: Final = (KEEP, PRUNE, RAISE)


def last_resort(of_pipeline: Any, of_study: Any) -> str:
    """The word that says it: that of the pipeline if it has one, else that of the study."""
    if of_pipeline is None:
        return of_study if of_study in _WORDS else KEEP
    if of_pipeline not in _WORDS:
        raise PipelineError(f"on_failure={of_pipeline!r}: expected {', '.join(_WORDS)}")
    return str(of_pipeline)
