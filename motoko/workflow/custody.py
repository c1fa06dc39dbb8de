"""The server and the launcher as one command uses them: what it has started ends with it, or
with the last command that uses it, unless it is left."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from motoko.daemon import Office, Use

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow


class Custody:
    """Knows which of the two this command has started, and ends these.

    Those that an earlier command has left running are adopted, by their process ids.
    """

    def __init__(self, launcher: Office, server: Office, *, is_passing: bool = True) -> None:
        """Unless it ``is_passing``, what this command starts stays."""
        self.is_passing = is_passing
        # The launcher uses the server.
        self._uses = [Use(office, is_passing=is_passing) for office in (launcher, server)]
        #: Whether they are to run on.
        self.is_left = False
        #: Whether, at the end, others used what would have ended.
        self.is_passed_on = False

    def use(self, office: Office) -> Use:
        """That of the holder of one of the two offices."""
        return next(use for use in self._uses if use.office.file == office.file)

    def adopt(self, pids: Collection[int]) -> None:
        """Take processes for one's own that were there before."""
        for use in self._uses:
            use.adopt(pids)

    def pids(self) -> list[int]:
        """The process ids of those that run."""
        return [use.own.pid for use in self._uses if use.own is not None]

    def leave(self) -> list[int]:
        """Let them run on; their process ids."""
        self.is_left = True
        return self.pids()

    def left_by_others(self) -> list[str]:
        """Those that ran before and go on, in words."""
        found = ((use.office.what, use.others) for use in self._uses)
        return [f"{what} (process {owner.pid})" for what, owner in found if owner is not None]

    def end(self) -> None:
        """Stop them, unless they were left or somebody else uses them."""
        for use in self._uses:
            if self.is_left:
                use.leave()
            elif use.end():
                self.is_passed_on = True


@contextmanager
def using(workflow: Workflow, office: Office) -> Iterator[Use]:
    """Use what the holder has to offer: as long as the workflow is in custody, else with a
    holder that stays from then on."""
    if workflow.custody is not None:
        use = workflow.custody.use(office)
        use.begin()
        yield use
        if not workflow.custody.is_passing:
            use.keep()
        return
    use = Use(office, is_passing=False)
    try:
        use.begin()
        yield use
        use.keep()
    finally:
        use.leave()
