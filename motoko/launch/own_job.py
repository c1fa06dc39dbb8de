"""The batch job that this process executes in, if it does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from motoko.errors import LaunchError
from motoko.host import boot_clock, process_kin, process_start_time
from motoko.launch.batch_generator import BatchGenerator
from motoko.launch.commands import ask
from motoko.launch.generator import find_generator, generator_names

_ASKED_S = 60.0


class OwnJob(NamedTuple):
    """A job, how much time it has left, and what submits it again."""

    system: str
    id: str
    left_s: float | None = None
    #: The command, and the directory where it is to be called; none where nobody knows it.
    again: tuple[str, ...] = ()
    directory: str | None = None

    def __str__(self) -> str:
        return f"job {self.id} of {self.system}"


def batch_generators() -> Iterator[BatchGenerator]:
    """All that are there and can be loaded: those of other packages may be broken."""
    for name in generator_names():
        with suppress(Exception):
            generator = find_generator(name)
            if isinstance(generator, BatchGenerator):
                yield generator


def system_of(environment: Mapping[str, str]) -> BatchGenerator | None:
    """The batch system whose job has this environment."""
    for generator in batch_generators():
        names = generator.own_variables
        if names and all(environment.get(name) for name in names):
            return generator
    return None


def own_job(environment: Mapping[str, str] = os.environ) -> OwnJob | None:
    """The job of this process; None outside. LaunchError when nothing tells of it."""
    generator = system_of(environment)
    if generator is None:
        return None
    job_id = environment[generator.own_variables[0]]
    command = generator.own_job_command(job_id)
    if not command:
        return OwnJob(generator.name, job_id)
    answer = ask(command, _ASKED_S)
    if not answer.is_good:
        words = answer.words or answer.output
        raise LaunchError(f"{' '.join(command)} does not tell of this job: {words}")
    facts = generator.parse_own_job(answer.output)
    left_s = facts.left_s
    if left_s is not None and facts.is_limit:
        left_s = max(0.0, left_s - session_age_s())
    return OwnJob(generator.name, job_id, left_s, facts.again, facts.directory)


def session_age_s() -> float:
    """How long ago the first process of this session started, which is a job's script in a job;
    where that is gone, or lives outside of this container, how long ago this one did."""
    kin = process_kin(os.getpid())
    started = None if kin is None else process_start_time(kin.session)
    if started is None:
        started = process_start_time(os.getpid())
    return 0.0 if started is None else boot_clock() - started / os.sysconf("SC_CLK_TCK")
