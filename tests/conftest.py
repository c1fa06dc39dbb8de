"""What holds for a run of the tests as a whole: nothing that it started outlives it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.support import leftovers

_STACK = pytest.StashKey[ExitStack]()
_NAME = pytest.StashKey[str]()
_LEFT = pytest.StashKey[list[leftovers.Leftover]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Give everything that the tests start the name of this run."""
    stack = session.config.stash[_STACK] = ExitStack()
    session.config.stash[_NAME] = stack.enter_context(leftovers.guarded())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End what was left behind; that is a failure."""
    stash = session.config.stash
    if _NAME not in stash:
        return
    stash[_LEFT] = leftovers.wait_for_end(stash[_NAME])
    stash[_STACK].close()
    if stash[_LEFT] and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name what was left behind."""
    left = config.stash.get(_LEFT, [])
    if left:
        terminalreporter.section("left behind by tests, ended now", red=True)
    for process in left:
        terminalreporter.line(str(process))
