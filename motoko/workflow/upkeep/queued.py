"""Cancelling the jobs of batch systems where no launcher does it."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from motoko.errors import MotokoError, SchedulerOutputError
from motoko.launch.batch_generator import BatchGenerator, JobStatus, Phase
from motoko.launch.environment import user_name
from motoko.launch.ticket import Ticket, Tickets
from motoko.workflow.generators import generator_named

if TYPE_CHECKING:
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

_MOST = 200
_ASKED_S = 60.0
#: How long cancelled jobs may take to end, and how often it is looked whether they have.
_ENDING_S, _LOOK_S = 30.0, 0.5


def cancel_jobs(
    workflow: Workflow,
    study: Study,
    rows: Mapping[int, Mapping[str, Any]],
    kept: Collection[int] = (),
    awaited: Collection[int] = (),
) -> dict[int, str]:
    """Cancel the jobs of these runs of a study; of those that may still have one, why.

    Unknown is not gone: what a batch system does not tell of may be there. A job that has a run
    of ``kept`` too is left. The ends of those of ``awaited`` are waited for, since nothing but
    its batch system tells whether such a job executes.
    """
    tickets = _tickets(study, rows)
    left: dict[int, str] = {}
    for system in sorted({ticket.generator for ticket in tickets.values()}):
        of_system = {r: t for r, t in tickets.items() if t.generator == system}
        try:
            generator = generator_named(workflow, system)
            if isinstance(generator, BatchGenerator):
                left |= _cancel(generator, of_system, kept, awaited)
        except MotokoError as error:
            left |= dict.fromkeys(of_system, f"it may have a job of {system}: {error}")
    return {r: why for r, why in left.items() if r not in kept}


def _tickets(study: Study, rows: Mapping[int, Mapping[str, Any]]) -> dict[int, Ticket]:
    """What is known of the jobs of runs, by the database or by what lies beside them."""
    found: dict[int, Ticket] = {}
    files = Tickets(study.runs_dir)
    with study.database.read() as tables:
        attempts = {run_id: list(tables.attempts(run_id)) for run_id in rows}
    for run_id, row in rows.items():
        number, nonce = row.get("attempt", 0), str(row.get("nonce"))
        last: Mapping[str, Any] = next(
            (a for a in reversed(attempts[run_id]) if a["number"] == number), {}
        )
        batch = last.get("batch") or {}
        if "id" in batch and "end_time" not in last:
            found[run_id] = Ticket(nonce, str(batch["generator"]), "", str(batch["id"]))
        elif "end_time" not in last:
            with suppress(OSError):
                ticket = files.of(str(study.run_dir(run_id)), number, nonce)
                if ticket is not None:
                    found[run_id] = ticket
    return found


def _cancel(
    generator: BatchGenerator,
    tickets: Mapping[int, Ticket],
    kept: Collection[int],
    awaited: Collection[int],
) -> dict[int, str]:
    try:
        there = _there(generator)
        by_key = {one.key: one.id for one in there}
        ids = {r: t.id or by_key.get(t.key, "") for r, t in tickets.items()}
        kept_ids = {ids[r] for r in kept if r in ids}
        wanted = _names(generator, there).intersection(ids.values()) - kept_ids
        words = _send(generator, sorted(wanted))
        if wanted:
            kept_ids |= _left(generator, {ids[r] for r in awaited if r in ids})
        why = f" is left: {words}" if words else " is left"
        return {r: f"job {i} of {generator.name}{why}" for r, i in ids.items() if i in kept_ids}
    finally:
        generator.close()


def _left(generator: BatchGenerator, awaited: Collection[str]) -> set[str]:
    """The jobs that still wait; others that execute may take a while to end, and those of
    ``awaited`` get one."""
    until = time.monotonic() + _ENDING_S
    while True:
        there = _there(generator)
        waiting = [one for one in there if one.phase is Phase.PENDING]
        left = _names(generator, waiting) | _names(generator, there).intersection(awaited)
        if left.isdisjoint(awaited) or time.monotonic() > until:
            return left
        time.sleep(_LOOK_S)


def _names(generator: BatchGenerator, jobs: Sequence[JobStatus]) -> set[str]:
    """Their ids, and those of their arrays: a script may have named one of these."""
    ids = {one.id for one in jobs}
    return ids | {array for one in ids if (array := generator.array_of(one)) is not None}


def _there(generator: BatchGenerator) -> list[JobStatus]:
    """The jobs that have not ended. SchedulerOutputError when that is not told."""
    command = generator.status_command(user_name(os.environ))
    answer = generator.ask(command, _ASKED_S)
    if not answer.is_good:
        raise SchedulerOutputError(command[0], answer.words or answer.output)
    found = generator.parse_status(answer.output).values()
    return [one for one in found if one.phase is not Phase.ENDED]


def _send(generator: BatchGenerator, ids: Sequence[str]) -> str:
    """Cancel jobs; the words of what failed."""
    words = ""
    for start in range(0, len(ids), _MOST):
        some = ids[start : start + _MOST]
        answer = generator.ask(generator.cancel_command(some), _ASKED_S)
        words = words if answer.is_good else answer.words
    return words
