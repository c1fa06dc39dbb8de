"""Cancelling jobs: many with one command, and again if they stay."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

from anyio import to_thread

from motoko.job import layout, token
from motoko.launch.attempt import Attempt
from motoko.launch.batch_generator import BatchGenerator, JobStatus
from motoko.launch.tracking import Pace, Tracker

log = logging.getLogger(__name__)

_MOST = 200
_ROOT = 0
#: Slurm's times are whole seconds.
_COARSE_S = 1.0
#: How long a cancelled job may stay before it is cancelled again.
_AGAIN_S = 60.0


class Cancels:
    """The jobs that are to end."""

    def __init__(
        self,
        generator: BatchGenerator,
        tracker: Tracker,
        pace: Pace,
        clock: Callable[[], float],
    ) -> None:
        self._generator = generator
        self._tracker = tracker
        self._pace = pace
        self._clock = clock
        self._due: dict[str, float] = {}

    def add(self, job_id: str) -> None:
        """Cancel this one too."""
        self._due[job_id] = 0.0

    def drop(self, job_id: str) -> None:
        """It has ended."""
        self._due.pop(job_id, None)

    @property
    def due_at(self) -> float:
        """When the next ones are due."""
        return min(self._due.values(), default=math.inf)

    async def send(self) -> None:
        """Cancel what is due."""
        now = self._clock()
        ids = [job_id for job_id, at in self._due.items() if at <= now]
        for start in range(0, len(ids), _MOST):
            some = ids[start : start + _MOST]
            command = self._generator.cancel_command(some)
            answer = await to_thread.run_sync(
                self._generator.ask, command, self._pace.command_s
            )
            if not answer.is_good:
                log.warning("%s: %s", command[0], answer.words)
            # Some may be gone already, which is told as an error too: asking decides.
            wait_s = _AGAIN_S if answer.is_good else self._pace.least_s * 4
            for job_id in some:
                tracked = self._tracker.jobs.get(job_id)
                if tracked is None:
                    self.drop(job_id)
                elif job_id in self._due:
                    self._due[job_id] = now + wait_s
                    tracked.is_cancelled = True
            self._tracker.hurry()


def is_kept_from_turn(attempt: Attempt, generation: str) -> bool:
    """End one run of a job that others share; whether it will never begin. OSError.

    Else its turn has come, and its job looks for the file that says so.
    """
    facts = token.token_facts(attempt.nonce, generation)
    fd = token.take_token(attempt.run_dir, attempt.number, facts)
    if fd is None:
        Path(layout.cancel_file(attempt.run_dir, attempt.number)).touch()
        return False
    os.close(fd)
    return True


def is_by_system(status: JobStatus, begun: float | None) -> bool:
    """Whether a batch system has cancelled a job by itself; ``begun`` is when the first of its
    scripts began, None if none did.

    It does so with a job that it could not launch; and Slurm, whose controller has crashed and
    forgotten that a job executes, with one that it has launched a second time. Its daemons are
    root's, and what they end so has no exit code.
    """
    is_by_user = status.canceller not in (None, _ROOT) or status.exit_code is not None
    if is_by_user or not (status.is_cancelled and status.was_placed):
        return False
    return begun is None or (status.started is not None and status.started > begun + _COARSE_S)
