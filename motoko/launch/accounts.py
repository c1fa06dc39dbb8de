"""Asking a batch system's accounts of jobs that its queue does not tell of."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from anyio import to_thread

from motoko.errors import SchedulerOutputError
from motoko.launch.batch_generator import BatchGenerator, JobStatus
from motoko.launch.tracking import Tracker

log = logging.getLogger(__name__)


async def ask_accounts(
    generator: BatchGenerator, tracker: Tracker, ids: Sequence[str], timeout_s: float
) -> list[JobStatus]:
    """What is new of these jobs, by one source after the other until all are found."""
    news: list[JobStatus] = []
    missing = set(ids)
    for command in generator.accounting_commands(ids) if ids else ():
        if not missing:
            break
        asked = set(ids).intersection(command)
        if asked and not asked & missing:
            continue  # others have told of all that it asks for
        answer = await to_thread.run_sync(generator.ask, command, timeout_s)
        if answer.is_good:
            try:
                said = generator.parse_accounting(answer.output)
            except SchedulerOutputError as error:
                log.warning("%s", error)
                continue
            missing -= said.keys()
            news += tracker.accounted(said)
    return news
