"""How long an attempt may take, and that it is told before that is over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from motoko.launch.checkpoint import Notice
from motoko.launch.limits import Walltime

if TYPE_CHECKING:
    from motoko.config import StudyConfig
    from motoko.launch.attempt import Attempt

UNTOLD: Final = "checkpoint_signal does not come: no `walltime` says when its time is over"


def allow(attempt: Attempt, config: StudyConfig, asked_s: float | None) -> None:
    """Give an attempt its time, and the notice of its end that its study wants.

    ``asked_s`` is what its batch system is asked for in that's own words, which stand above its
    walltime: infinite where there is to be no limit, None where they say nothing of it.
    """
    if asked_s is not None:
        attempt.walltime = Walltime(None if math.isinf(asked_s) else asked_s)
    limit_s = attempt.walltime.limit_s
    if config.checkpoint_signal is None:
        return
    if limit_s is not None:
        attempt.notice = Notice(
            config.checkpoint_signal,
            limit_s,
            attempt.run_dir,
            attempt.number,
            config.carry_over,
        )
    elif asked_s is None:
        attempt.warn(UNTOLD)
