"""What keeps a launcher from its work at the moment: said once, not once for each run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from motoko.host import in_words

log = logging.getLogger(__name__)


class Trouble(NamedTuple):
    """Something that does not work for now, and is tried again and again."""

    what: str
    why: str
    since: float

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{self.what} since {since}: {self.why}"


class Troubles:
    """The current troubles; the log tells of each when it begins and when it is over."""

    def __init__(
        self,
        tell: Callable[[Sequence[Trouble]], object] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``tell`` is given all current ones whenever they change."""
        self._tell = tell
        self._now = now
        self._current: dict[str, Trouble] = {}
        #: The reasons that were said of each since it began: some take turns.
        self._said: dict[str, set[str]] = {}

    @property
    def current(self) -> list[Trouble]:
        """Those that have begun and are not over, oldest first."""
        return list(self._current.values())

    def is_met(self, what: str) -> bool:
        """Whether it does not work, as far as is known."""
        return what in self._current

    def met(self, what: str, error: BaseException | str) -> bool:
        """It does not work (``cannot write in /there``), for this reason; whether that is
        news, which a reason that was said before is not."""
        known = self._current.get(what)
        why = _reason(error)
        said = self._said.setdefault(what, set())
        if why in said:
            return False
        said.add(why)
        trouble = Trouble(what, why, known.since if known else self._now())
        self._current[what] = trouble
        log.warning("%s: %s; trying again", what, why)
        self._tell(self.current)
        return True

    def over(self, what: str) -> None:
        """It works, or works again."""
        trouble = self._current.pop(what, None)
        self._said.pop(what, None)
        if trouble is not None:
            # The log may have been on the same disk: it hears now what it could not hear then.
            log.warning("over: %s", trouble)
            self._tell(self.current)


def unexpected(error: BaseException) -> str:
    """The reason of a trouble that nobody has thought of."""
    return f"{type(error).__name__}: {error}; see the launcher's log"


def _reason(error: BaseException | str) -> str:
    if isinstance(error, OSError) and error.strerror:
        return in_words(error)
    return str(error)
