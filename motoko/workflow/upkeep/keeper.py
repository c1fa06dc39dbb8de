"""Watches over the server and the launcher of a workflow, and restarts those that die."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from motoko.daemon import Office
from motoko.errors import DatabaseLost, MotokoError, StudyNotFound
from motoko.host import NO_ROOM, in_words
from motoko.workflow import control, places
from motoko.workflow.restarts import Restarts
from motoko.workflow.views.troubles import troubles

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)

OnLost = Callable[[MotokoError], object]
OnTrouble = Callable[[list[str]], object]

_LOOK_S = 1.0


@dataclass
class _Post:
    office: Office
    start: Callable[[], object]
    restarts: Restarts = field(default_factory=Restarts)
    is_left_alone: bool = False
    #: Why it did not start, when it was tried last.
    problem: str = ""


def _nobody(found: object) -> None:
    """Is told."""


class Keeper:
    """Watches from a thread of its own: the event loop may be waiting for the server.

    A process that somebody has asked to stop stays stopped.
    """

    def __init__(self, workflow: Workflow, *, restarts: bool) -> None:
        """Only with ``restarts`` what has died is started again."""
        self._workflow = workflow
        self._restarts = restarts
        self._listening = threading.Lock()
        self._lost: MotokoError | None = None
        self._on_lost: OnLost = _nobody
        self._on_trouble: OnTrouble = _nobody
        self._was_served = False
        self._troubles: list[str] = []
        self._server = control.server_office(workflow)
        self._posts = [
            _Post(
                control.launcher_office(workflow), lambda: control.restart_launcher(workflow)
            ),
        ]
        if places.address(workflow).is_here:
            start = _Post(self._server, lambda: control.start_server(workflow))
            self._posts.insert(0, start)
        self._is_ending = False
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    @contextmanager
    def telling(self, on_lost: OnLost, on_trouble: OnTrouble) -> Iterator[None]:
        """Inside the block ``on_lost`` is called when there is nothing left to serve, and
        ``on_trouble`` with all that keeps the workflow from going on, when that changes; both
        in the thread, or here with what was found before."""
        with self._listening:
            self._on_lost, self._on_trouble = on_lost, on_trouble
            if self._lost is not None:
                on_lost(self._lost)
            if self._troubles:
                on_trouble(self._troubles)
        try:
            yield
        finally:
            with self._listening:
                self._on_lost = self._on_trouble = _nobody

    def stop(self) -> None:
        """End; a restart that is under way is waited for."""
        self._is_ending = True
        os.write(self._writer, b"x")
        self._thread.join()
        os.close(self._reader)
        os.close(self._writer)

    def _watch(self) -> None:
        while not self._is_ending:
            try:
                self._look()
            except (StudyNotFound, DatabaseLost) as error:
                with self._listening:
                    self._lost = error
                    self._on_lost(error)
                return
            except Exception as error:  # without it nobody would start again what dies
                self._met(error)
                self._wait(())

    def _look(self) -> None:
        waiting: list[int] = []
        try:
            deaths = (_death_of(post.office) for post in self._posts)
            waiting.extend(fd for fd in deaths if fd is not None)
            self._look_for_databases()
            if self._restarts:
                for post in self._posts:
                    self._look_after(post)
            self._look_for_trouble()
            self._wait(waiting)
        finally:
            for fd in waiting:
                os.close(fd)

    def _wait(self, descriptors: Iterable[int]) -> None:
        """Until it is time, the end, or one of these can be read."""
        poll = select.poll()
        for fd in (self._reader, *descriptors):
            poll.register(fd, select.POLLIN)
        poll.poll(_LOOK_S * 1000)

    def _met(self, error: Exception) -> None:
        """Something unexpected: it is told as long as it lasts."""
        told = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            told = in_words(error)
        trouble = f"cannot look after server and launcher: {told}"
        if trouble not in self._troubles:
            is_known = isinstance(error, OSError) and error.errno in NO_ROOM
            log.error("%s", trouble, exc_info=None if is_known else error)
        with suppress(Exception):  # it may be the telling that fails
            self._tell([*(t for t in self._troubles if t != trouble), trouble])

    def _look_after(self, post: _Post) -> None:
        if self._is_ending or post.office.owner() is not None:
            post.restarts.stands()
            post.is_left_alone = False
            post.problem = ""
            return
        if post.office.was_stopped:
            if not post.is_left_alone:
                log.warning("%s was stopped; it is not started again", post.office.what)
            post.is_left_alone = True
            return
        if post.restarts.wait_s:
            return
        self._check_not_removed()
        try:
            post.start()
            log.warning("%s had died and was started again", post.office.what)
            post.problem = ""
        except Exception as error:  # whatever the system refuses now may go well later
            post.problem = f"{post.office.what} has died and does not start: {error}"
            log.error("%s", post.problem)
        post.restarts.tried()

    def _look_for_trouble(self) -> None:
        found = [post.problem for post in self._posts if post.problem]
        found += [trouble for trouble in troubles(self._workflow) if trouble not in found]
        for trouble in found:
            if trouble not in self._troubles:
                log.warning("%s", trouble)
        self._tell(found)

    def _tell(self, found: list[str]) -> None:
        with self._listening:
            if found != self._troubles and not self._is_ending:
                self._troubles = found
                self._on_trouble(found)

    def _look_for_databases(self) -> None:
        """A server ends when they are removed; before the first one there may be none yet."""
        if self._server.owner() is not None:
            self._was_served = True
        elif self._was_served:
            self._check_not_removed()

    def _check_not_removed(self) -> None:
        if not control.is_created(self._workflow):
            why = "its databases were removed while it ran; `motoko run` begins anew"
            raise StudyNotFound(str(self._workflow.directory), why)


def _death_of(office: Office) -> int | None:
    """A descriptor that can be read once the holder has died; None where there is none."""
    owner = office.owner()
    if owner is None or not owner.is_here:
        return None
    with suppress(OSError, AttributeError):
        return os.pidfd_open(owner.pid)
    return None
