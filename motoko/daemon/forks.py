"""Locks and ends of pipes are of the process that has them, and not of those that it forks.

A child has the descriptors of its parent, and with them the locks, which it would hold while
it lives, and pipes that would have no end: the worker of a process pool may outlive a parent
that was killed by hours.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet


class HasOwn(Protocol):
    """What has descriptors that no child is to have."""

    @property
    def own_fds(self) -> Iterable[int]:
        """The descriptors that it has now."""


_holders: WeakSet[HasOwn] = WeakSet()


def keep_from_children(holder: HasOwn) -> None:
    """Let no process that this one forks from now on have the descriptors of this one."""
    _holders.add(holder)


def _let_go() -> None:
    # The numbers stay taken: who writes to them in the child writes to a file of no name.
    with suppress(OSError):
        nothing = _nameless()
        for holder in _holders:
            for fd in holder.own_fds:
                os.dup2(nothing, fd, inheritable=False)
        os.close(nothing)


def _nameless() -> int:
    try:
        return os.memfd_create("motoko")
    except AttributeError:  # a Python that was built for old systems
        return os.open(os.devnull, os.O_RDWR)


os.register_at_fork(after_in_child=_let_go)
