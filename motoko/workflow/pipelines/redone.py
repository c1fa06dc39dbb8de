"""What is done anew since what it is given has changed: users hear of it if they did that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

#: Files do not tell for what they were written, and are believed.
FILES_SAY: Final = "its files say that it is finished; remove them to have it done anew"

_MOST_ALOUD: Final = 20

log = logging.getLogger(__name__)


def say_redone(workflow: Workflow, text: str) -> None:
    """Say so aloud where changes were accepted, as often as people read it: a pipeline may be
    run with many payloads, and for many systems."""
    asked = workflow.asked_steps
    assert asked is not None
    asked.n_said += workflow.accepts_changes
    is_aloud = workflow.accepts_changes and asked.n_said <= _MOST_ALOUD
    log.log(logging.WARNING if is_aloud else logging.INFO, "%s", text)
    if is_aloud and asked.n_said == _MOST_ALOUD:
        log.warning("more that is done anew is in the log of the workflow")
