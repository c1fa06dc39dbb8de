"""What holds for a run of the tests as a whole: nothing that it started outlives it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support import effort, leftovers, threads, warm

#: How long an example takes is the business of the machine.
settings.register_profile(
    "motoko",
    deadline=None,
    derandomize=not effort.exploring,
    print_blob=True,
    max_examples=effort.examples(100),
)
settings.load_profile("motoko")

_STACK = pytest.StashKey[ExitStack]()
_NAME = pytest.StashKey[str]()
_LEFT = pytest.StashKey[list[str]]()
_HANGING = pytest.StashKey[pytest.Session]()


def pytest_configure(config: pytest.Config) -> None:
    """Say how much is to be tried before the modules of the tests ask."""
    effort.is_thorough = config.option.markexpr != "not slow"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each worker, who begins with a part of the list, the long ones first.

    What is left when one of them is through is short then.
    """
    n_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    by_length = sorted(modules, key=lambda path: path.parent.name in ("unit", "tests"))
    items[:] = [
        item
        for n in range(n_workers)
        for path in by_length[n::n_workers]
        for item in modules[path]
    ]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Give everything that the tests start the name of this run, which workers inherit."""
    config = session.config
    config.stash[_LEFT] = []
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        # What ignores a signal, as after nohup, has all that it starts ignore it.
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    # Hundreds of processes would compile the package, each for itself.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not hasattr(config, "workeroutput"):
        stack = config.stash[_STACK] = ExitStack()
        config.stash[_NAME] = stack.enter_context(leftovers.guarded())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End what was left behind; that is a failure."""
    config = session.config
    if _LEFT not in config.stash:
        return
    left = config.stash[_LEFT]
    warm.close()
    if hanging := threads.wait_for_end():
        left += hanging
        config.stash[_HANGING] = session
    if hasattr(config, "workeroutput"):
        config.workeroutput["left"] = left
        return
    left += map(str, leftovers.wait_for_end(config.stash[_NAME]))
    config.stash[_STACK].close()
    if left and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take note of what a worker has found."""
    node.config.stash[_LEFT] += getattr(node, "workeroutput", {}).get("left", [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name what was left behind."""
    left = config.stash.get(_LEFT, [])
    if left:
        terminalreporter.section("left behind by tests, ended now", red=True)
    for description in left:
        terminalreporter.line(description)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave at once where Python would wait for a thread that does not end."""
    if session := config.stash.get(_HANGING, None):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(session.exitstatus)
