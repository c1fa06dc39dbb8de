"""What is done anew since what it is given has changed: users hear of it if they did that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from motoko.pipeline import Step
    from motoko.workflow.workflow import Workflow

_MOST_ALOUD: Final = 20

log = logging.getLogger(__name__)


def say_redone(
    workflow: Workflow, text: str, step: Step | None = None, *, is_news: bool = False
) -> None:
    """Say so aloud, as often as people read it, where it ``is_news``.

    It is where changes were accepted, and where more systems have come to a barrier, for which
    nobody was asked. That a pipeline is run with one payload after the other is none.
    """
    asked = workflow.asked_steps
    assert asked is not None
    has_grown = step is not None and step.barrier and asked.n_begun == 1
    is_aloud = is_news or has_grown or workflow.accepts_changes
    asked.n_said += is_aloud
    is_aloud = is_aloud and asked.n_said <= _MOST_ALOUD
    log.log(logging.WARNING if is_aloud else logging.INFO, "%s", text)
    if is_aloud and asked.n_said == _MOST_ALOUD:
        log.warning("more that is done anew is in the log of the workflow")
