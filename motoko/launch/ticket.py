"""What the launcher knows of a batch job, kept in the run directory before the database has it.

A ticket without an id was written before the submission: should the launcher die then, the job,
if there is one, is found by its name.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from motoko.job import layout
from motoko.job.layout import safe_name

_LONGEST_NAME = 60
#: What the names of all jobs begin with.
JOB_PREFIX = "motoko-"


class Ticket(NamedTuple):
    """The job of one attempt; ``task`` is its number in an array of jobs. Runs that are packed
    have the same job."""

    nonce: str
    generator: str
    name: str
    id: str | None = None
    task: int | None = None

    @property
    def key(self) -> str:
        """What the job is found by when its id is not known."""
        return self.name if self.task is None else f"{self.name}#{self.task}"


def job_name(study: str, run_id: int, attempt: int, nonce: str) -> str:
    """A name that no other job has, and that every batch system takes."""
    kept = "".join(c if c.isascii() and c.isalnum() else "_" for c in safe_name(study))
    return f"{JOB_PREFIX}{kept[:_LONGEST_NAME]}-{run_id}-{attempt}-{nonce[:8]}"


def write_ticket(run_dir: str, attempt: int, ticket: Ticket) -> None:
    """Put the ticket in its place in one step."""
    path = layout.job_ticket(run_dir, attempt)
    aside = f"{path}.{os.getpid()}"
    Path(aside).write_text(json.dumps(ticket._asdict()) + "\n")
    os.replace(aside, path)


def read_ticket(run_dir: str, attempt: int, nonce: str) -> Ticket | None:
    """The ticket of this attempt; None without one. OSError when it cannot be read."""
    try:
        said = json.loads(Path(layout.job_ticket(run_dir, attempt)).read_text())
        ticket = Ticket(**said)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return ticket if ticket.nonce == nonce else None
