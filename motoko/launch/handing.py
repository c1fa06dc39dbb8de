"""Work that a script hands on: the job that it names is tracked like any other.

A script of `completion: explicit` that submits a job itself writes what the submission has said
into the file ``MOTOKO_HANDED_ON``; the name of the batch system may stand in front.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from anyio.abc import TaskGroup

from motoko.crashpoints import reached
from motoko.errors import MotokoError, SchedulerOutputError
from motoko.job import layout
from motoko.launch.attempt import Attempt
from motoko.launch.batch_generator import BatchGenerator
from motoko.launch.batch_watch import BatchWatch
from motoko.launch.desk import Desk
from motoko.launch.generator import Generator, find_generator, generator_names
from motoko.launch.ticket import Ticket

log = logging.getLogger(__name__)


class Named(NamedTuple):
    """A job that a script has named, and the batch system that has it."""

    generator: BatchGenerator
    id: str


def read_named(attempt: Attempt, own: Generator) -> Named | None:
    """The job that a script has handed its work to; None if it has named none.

    MotokoError for what cannot be one, OSError when it cannot be read.
    """
    path = layout.handed_file(attempt.run_dir, attempt.number)
    try:
        text = Path(path).read_text(errors="replace").strip()
    except FileNotFoundError:
        return None
    first, _, rest = text.partition(" ")
    is_named = first in generator_names()
    generator = find_generator(first) if is_named else own
    if not isinstance(generator, BatchGenerator):
        why = f"{text!r}, where `SYSTEM ID` was expected: {generator.name} has no jobs"
        raise SchedulerOutputError(path, why)
    text = rest if is_named else text
    return Named(generator, generator.parse_submission(text))


class Handing:
    """Follows the jobs that were named; there is one watch for each batch system."""

    def __init__(
        self,
        own: Generator,
        watches: dict[str, BatchWatch],
        new_watch: Callable[[BatchGenerator], BatchWatch],
    ) -> None:
        """``own`` is how the scripts were executed that name them; ``watches`` those that there
        are already."""
        self._own = own
        self._watches = watches
        self._new_watch = new_watch
        #: Where the watches that are made work.
        self.group: TaskGroup | None = None

    def watch_of(self, attempt: Attempt) -> BatchWatch:
        """Who follows the job that an attempt was handed on to."""
        return self._watch(str(attempt.batch["generator"]))

    def take(self, desk: Desk, attempt: Attempt) -> None:
        """Follow the job that an attempt has named, if it has."""
        try:
            named = read_named(attempt, self._own)
        except (MotokoError, OSError) as error:
            attempt.warn(f"it does not say to which job it has handed its work: {error}")
            return
        if named is None:
            return
        log.info("run %s: goes on in job %s", attempt.title, named.id)
        reached("job.handed")
        attempt.hand_on(named.generator.name, named.id)
        ticket = Ticket(attempt.nonce, named.generator.name, "", named.id)
        self._watch(named.generator.name).follow(desk, attempt, ticket)

    def _watch(self, name: str) -> BatchWatch:
        if name not in self._watches:
            generator = find_generator(name)
            assert isinstance(generator, BatchGenerator) and self.group is not None
            watch = self._watches[name] = self._new_watch(generator)
            self.group.start_soon(watch.run)
        return self._watches[name]
