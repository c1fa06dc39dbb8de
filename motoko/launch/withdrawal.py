"""Which states of a run say that somebody has given up the attempt that it is at."""

from __future__ import annotations

from motoko.launch.attempt import Attempt
from motoko.model import states

_ALWAYS = frozenset({states.CREATED, states.CANCELLED})


def gives_up(attempt: Attempt, state: str) -> bool:
    """Whether somebody else has put the run of an attempt into this state, so that it ends.

    What the attempt has come to by itself, a state of its own for one, lets it go on. So does
    what an action remembers of a run whose script has said how it ended: it may have some
    clearing up to do.
    """
    if state in _ALWAYS:
        return True
    is_own = state in states.ACTIVE or attempt.has_put(state)
    return not is_own and attempt.reading.said.final_word is None
