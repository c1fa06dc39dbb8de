"""Who has said that a workflow is finished, and from when on that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from motoko.store.operations import SayEnd
from motoko.store.session import Session, current_session

if TYPE_CHECKING:
    from motoko.workflow.loop import EventLoop
    from motoko.workflow.workflow import Workflow


class Finish:
    """Whether a workflow is finished, as the calling task sees it."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._loop: EventLoop | None = None
        self._is_said = False
        #: What sessions have said that are not committed yet.
        self._pending: WeakKeyDictionary[Session, bool] = WeakKeyDictionary()

    @property
    def is_said(self) -> bool:
        """What counts now, or will once the present session is committed."""
        session = current_session()
        if session is not None and session in self._pending:
            return self._pending[session]
        return self._is_said

    def begin(self, loop: EventLoop) -> None:
        """Nobody has said anything, and this runs the workflow."""
        self._loop = loop
        self._is_said = False

    def say(self, value: bool) -> None:
        """Let it count once the present session is committed, and what was put back is done."""
        session = current_session()
        loop = self._loop
        is_put_off = value and loop is not None and loop.prospects.puts_off_end(session)

        def settle() -> None:
            if loop is not None and is_put_off:
                loop.reopening.put_off(session)
            else:
                self._is_said = value
            if loop is not None and not value:
                loop.reopening.take_back()
            if session is not None:
                self._pending.pop(session, None)
            self._workflow.tell_of_change()

        if session is None:
            settle()
        else:
            self._pending[session] = value
            session.after_commit(settle)
            self.say_code(0 if value and not is_put_off else None)

    def say_code(self, code: int | str | None) -> None:
        """Commit with the present session how the run name comes to its end."""
        session, workflow = current_session(), self._workflow
        if workflow.is_orchestrated and workflow.run_name and session is not None:
            session.do(workflow.vars.db, SayEnd(workflow.run_name, code))
