"""What the launcher knows of a batch job, kept in the run directory before the database has it.

A ticket is written before the submission: should the launcher die before the job's id stands
below it, the job, if there is one, is found by its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from motoko.durable import write_all
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


def group_ticket(runs_dir: Path, name: str) -> str:
    """The file of the tickets of all runs that were submitted together, by their job's name."""
    return str(runs_dir / f".{name}.json")


def group_script_file(name: str) -> str:
    """The name of the script by which runs were submitted together, beside all runs."""
    return f".{name}.sh"


def write_tickets(path: str, tickets: Sequence[Ticket]) -> None:
    """Put the tickets in their place in one step."""
    aside = f"{path}.{os.getpid()}"
    try:
        _write(aside, os.O_CREAT | os.O_TRUNC, _facts(tickets))
        os.replace(aside, path)
    except OSError:
        with suppress(OSError):
            Path(aside).unlink()
        raise


def add_ids(path: str, ids: Sequence[str]) -> None:
    """Say below tickets what their jobs are called: a part of that, if the disk is full, says
    nothing."""
    _write(path, os.O_APPEND, {"ids": ids})


def _write(path: str, flags: int, facts: Mapping[str, Any]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o666)
    try:
        write_all(fd, json.dumps(facts).encode() + b"\n")
    finally:
        os.close(fd)


def _facts(tickets: Sequence[Ticket]) -> dict[str, Any]:
    """One as it is; of several, which have generator and name in common, the rest in lists."""
    first = tickets[0]
    if len(tickets) == 1:
        return first._asdict()
    return {
        "generator": first.generator,
        "name": first.name,
        "nonces": [ticket.nonce for ticket in tickets],
        "ids": [ticket.id for ticket in tickets],
        "tasks": [ticket.task for ticket in tickets],
    }


class Tickets:
    """The tickets of a study's runs: of one beside it, and of a group beside all runs."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._grouped: dict[str, Ticket] = {}
        self._read_at = -1

    def of(self, run_dir: str, attempt: int, nonce: str) -> Ticket | None:
        """The ticket of this attempt; None without one. OSError when it cannot be read."""
        own = _read(layout.job_ticket(run_dir, attempt)).get(nonce)
        if own is not None and own.id is not None:
            return own
        with suppress(FileNotFoundError):
            self._read_groups()
        return self._grouped.get(nonce, own)

    def _read_groups(self) -> None:
        """Read all of them, if there may be new ones; the latest of an attempt counts."""
        changed_at = self._runs_dir.stat().st_mtime_ns
        if changed_at == self._read_at:
            return
        files = list(self._runs_dir.glob(f".{JOB_PREFIX}*.json"))
        self._grouped = {}
        for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
            self._grouped.update(_read(file))
        self._read_at = changed_at


def _read(path: str | Path) -> dict[str, Ticket]:
    """The tickets in a file, by nonce; none when it is not there, or is none."""
    try:
        first, *later = Path(path).read_text().splitlines() or [""]
        found = list(_tickets(json.loads(first)))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return {}
    for line in later:
        with suppress(ValueError, TypeError, KeyError):
            ids = json.loads(line)["ids"]
            found = [t._replace(id=own) for t, own in zip(found, ids, strict=True)]
    return {ticket.nonce: ticket for ticket in found}


def _tickets(said: Any) -> Iterator[Ticket]:
    if "nonces" in said:
        columns = said["nonces"], said["ids"], said["tasks"]
        for nonce, job_id, task in zip(*columns, strict=True):
            yield Ticket(nonce, said["generator"], said["name"], job_id, task)
    else:  # launchers before this one wrote those of a group as a list
        yield from (Ticket(**one) for one in (said if isinstance(said, list) else [said]))
