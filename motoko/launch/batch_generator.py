"""What an adapter of a batch system answers: small questions, and nothing is executed or kept.

The loop around it (submitting, asking, cancelling) is written once, for all of them.
"""

from __future__ import annotations

import enum
import os
import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from motoko.config.retry import INFRASTRUCTURE, MEMORY, PREEMPTED, WALLTIME
from motoko.launch.commands import NOT_EXECUTED, Answer, ask
from motoko.launch.environment import user_name
from motoko.launch.generator import Generator
from motoko.launch.options import Dialect
from motoko.launch.resources import Resources

#: What batch systems write into the log of a job that they end.
_SAID = (
    (
        re.compile(
            r"oom.kill|out of memory|exceeded.*\b(?:memory|mem|vmem)\b|"
            r"\b(?:mem|vmem)\b.*exceeded",
            re.IGNORECASE,
        ),
        MEMORY,
    ),
    (re.compile(r"DUE TO TIME LIMIT|walltime.*exceeded", re.IGNORECASE), WALLTIME),
    (re.compile(r"DUE TO PREEMPTION", re.IGNORECASE), PREEMPTED),
    (re.compile(r"DUE TO NODE FAILURE", re.IGNORECASE), INFRASTRUCTURE),
)


#: How long a system may take that is asked whether it is there.
_CHECKED_S = 20.0
_TASK = re.compile(r"(?:_|\[)(\d+)")


class Phase(enum.Enum):
    """Where a job is, as its batch system tells."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"


class JobStatus(NamedTuple):
    """What a batch system says of one job.

    ``state`` and ``reason`` are its own words. ``failure`` is the class of failure that the
    state means, if it means one; ``is_cancelled`` that somebody or the system itself has ended
    it, with ``canceller`` as the number of that user, and ``was_placed`` that it had been given
    to a host, where that is told; ``started``: when that was, last, in seconds since the epoch.
    """

    id: str
    phase: Phase
    state: str
    name: str = ""
    reason: str = ""
    exit_code: int | None = None
    failure: str | None = None
    is_cancelled: bool = False
    was_placed: bool = False
    canceller: int | None = None
    started: float | None = None

    @property
    def key(self) -> str:
        """What it is found by whose id is not known: name, and number in an array."""
        task = _TASK.search(self.id)
        return self.name if task is None else f"{self.name}#{task[1]}"


class Refusal(enum.Enum):
    """Why a batch system did not take a job."""

    BUSY = "it takes no more for now"
    AWAY = "it does not answer"
    UNCLEAR = "it has not said whether it took it"
    REFUSED = "it does not take such a job"


class Shape(NamedTuple):
    """All that a batch system is told of a job besides its name and its script.

    ``options`` are the user's, without dashes; they stand above the resources.
    """

    resources: Resources
    options: tuple[str, ...] = ()


class OwnFacts(NamedTuple):
    """What a batch system says of the job that asks: seconds left, None without a limit; the
    command that submits it again, and where. ``is_limit``: it does not say for how long the job
    has executed, and what is left is the limit, less that."""

    left_s: float | None = None
    again: tuple[str, ...] = ()
    directory: str | None = None
    is_limit: bool = False


class Array(NamedTuple):
    """How many jobs are one array, and how many of them may execute at once."""

    size: int
    most_at_once: int | None = None


class BatchGenerator(Generator):
    """Hands runs to a batch system."""

    #: How its options are read, and which of them are Motoko's own.
    dialect: ClassVar[Dialect]
    #: What a line of directives begins with.
    prefix: ClassVar[str]
    #: The variable that has a job's number in its array, and the number of the first.
    array_variable: ClassVar[str] = ""
    #: Words with which it refuses a job because it has no room now, and because it is away.
    busy: ClassVar[re.Pattern[str] | None] = None
    away: ClassVar[re.Pattern[str] | None] = None
    #: Words that come when an answer is lost: it may have taken the job.
    unclear: ClassVar[re.Pattern[str] | None] = None
    array_base: ClassVar[int] = 0
    #: Variables that are set in each of its jobs; the first one has the id.
    own_variables: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: Sequence[str] = ()) -> None:
        """ReservedOption when they have one that is Motoko's own."""
        super().__init__(options)
        self.dialect.check(options, f"{self.name}_options")

    def problem(self) -> str | None:
        command = self.status_command(user_name(os.environ))
        answer = self.ask(command, _CHECKED_S)
        if answer.is_good or answer.code == NOT_EXECUTED:  # which is said of all commands
            return None
        return f"{command[0]} does not tell of jobs: {answer.words or answer.output}"

    #: Whether it has arrays of jobs; where a submission costs nothing there is no need of them.
    has_arrays: ClassVar[bool] = True

    def ask(
        self, command: Sequence[str], timeout_s: float, directory: str | None = None
    ) -> Answer:
        """Execute one of its commands and wait for it. Called in threads."""
        return ask(command, timeout_s, directory)

    def close(self) -> None:
        """Give back what was needed for asking."""

    @abstractmethod
    def directives(
        self, name: str, shape: Shape, log: str, array: Array | None = None
    ) -> list[str]:
        """What to ask for, without the prefix. ``log`` is a file in the job's directory."""

    def walltime_s(self, options: Sequence[str]) -> float | None:
        """How long a job may take by these options: infinite where they ask for no limit; None
        where they do not say, or in a way that the system itself has to judge."""
        return None

    @abstractmethod
    def submit_command(self, script: str) -> list[str]:
        """The command that submits a script that lies in the current directory."""

    @abstractmethod
    def parse_submission(self, output: str) -> str:
        """The id of the job; SchedulerOutputError if that is not there."""

    def refusal(self, words: str) -> Refusal:
        """What a submission that failed with these words means: `unclear`, `away`, `busy`."""
        if self.unclear is not None and self.unclear.search(words):
            return Refusal.UNCLEAR
        if self.away is not None and self.away.search(words):
            return Refusal.AWAY
        is_busy = self.busy is not None and self.busy.search(words)
        return Refusal.BUSY if is_busy else Refusal.REFUSED

    @abstractmethod
    def status_command(self, user: str) -> list[str]:
        """The command that lists all jobs of a user."""

    @abstractmethod
    def parse_status(self, output: str) -> dict[str, JobStatus]:
        """What that says, by id; SchedulerOutputError for what cannot be read."""

    def accounting_commands(self, ids: Sequence[str]) -> list[list[str]]:
        """Commands that tell of jobs that may have left the queue, in this order."""
        return []

    def parse_accounting(self, output: str) -> dict[str, JobStatus]:
        """What one of those says, by id; SchedulerOutputError for what cannot be read."""
        return {}

    def failure_in(self, log: str) -> str | None:
        """The class of failure that its own words in a job's log mean, if they mean one."""
        for pattern, failure in _SAID:
            if pattern.search(log):
                return failure
        return None

    @abstractmethod
    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        """The command that ends these jobs."""

    def array_ids(self, job_id: str, size: int) -> list[str]:
        """The ids of the jobs of an array, as `parse_status` has them."""
        numbers = range(self.array_base, self.array_base + size)
        return [f"{job_id}_{number}" for number in numbers]

    def array_of(self, job_id: str) -> str | None:
        """The id of the array that a job is one of; None for one that is alone."""
        array, sign, _ = job_id.partition("_")
        return array if sign and self.has_arrays else None

    def throttle_command(self, array_id: str, most: int) -> list[str]:
        """The command that changes how many jobs of an array may execute at once; none where
        that cannot be changed: arrays are as small as limits are, then."""
        return []

    def own_job_command(self, job_id: str) -> list[str]:
        """The command that tells of the job that asks."""
        return []

    def parse_own_job(self, output: str) -> OwnFacts:
        """What that says."""
        return OwnFacts()

    def lines(self, directives: Sequence[str]) -> list[str]:
        """Directives as lines of a script."""
        return [f"{self.prefix} {text}" for text in directives]
