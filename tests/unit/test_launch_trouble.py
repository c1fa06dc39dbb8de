"""Troubles of a launcher: one line each when they begin and when they are over."""

from __future__ import annotations

import errno
import os
import time

import pytest

from motoko.launch.trouble import Trouble, Troubles

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/there/run-17/x")


def test_a_trouble_is_said_once_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    told: list[list[Trouble]] = []
    troubles = Troubles(lambda current: told.append(list(current)), now=lambda: 7.0)

    for _ in range(100):
        troubles.met("cannot write in /there", FULL)
    [trouble] = troubles.current
    troubles.over("cannot write in /there")
    troubles.over("cannot write in /there")

    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(7.0))
    assert str(trouble) == f"cannot write in /there since {since}: No space left on device"
    assert told == [[trouble], []]
    assert [record.getMessage() for record in caplog.records] == [
        "cannot write in /there: No space left on device; trying again",
        f"over: {trouble}",
    ]


def test_another_reason_is_said_and_began_when_the_first_did() -> None:
    times = iter([1.0, 2.0])
    troubles = Troubles(now=lambda: next(times))

    troubles.met("cannot write", FULL)
    troubles.met("cannot write", "Disk quota exceeded")

    assert troubles.current == [Trouble("cannot write", "Disk quota exceeded", 1.0)]


def test_reasons_that_take_turns_are_said_once() -> None:
    told: list[list[str]] = []
    troubles = Troubles(lambda current: told.append([one.why for one in current]))

    for _ in range(5):
        troubles.met("cannot write", "the connection is lost")
        troubles.met("cannot write", FULL)
    troubles.over("cannot write")
    troubles.met("cannot write", "the connection is lost")

    full = "No space left on device"
    lost = "the connection is lost"
    assert told == [[lost], [full], [], [lost]]
