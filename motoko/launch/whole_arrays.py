"""Arrays that are looked after as one job, since a script has named them: what is told of their
jobs, taken together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from motoko.launch.batch_generator import JobStatus, Phase

_JOB_OF_ARRAY = re.compile(r"(\d+)_\d+")


class WholeArrays:
    """The jobs of arrays, as they were told of last: a queue forgets those that have ended."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, JobStatus]] = {}

    def forget(self, array_id: str) -> None:
        """It is looked after no longer."""
        self._jobs.pop(array_id, None)

    def together(
        self, wanted: Collection[str], told: Mapping[str, JobStatus], *, is_queue: bool
    ) -> dict[str, JobStatus]:
        """Those of ``wanted`` that are arrays of which something can be said.

        One goes on as long as one of its jobs does, and ends as the worst of them. Where one is
        not told of any more whose end nobody has seen, nothing is said. A queue may have
        forgotten what failed, so it alone does not say that all went well.
        """
        for status in told.values():
            found = _JOB_OF_ARRAY.fullmatch(status.id)
            if found is not None and found[1] in wanted:
                known = self._jobs.setdefault(found[1], {})
                before = known.get(status.id)
                is_over = before is not None and before.phase is Phase.ENDED
                if not is_over or (status.phase is Phase.ENDED and not is_queue):
                    known[status.id] = status
        return {
            array_id: status
            for array_id, jobs in self._jobs.items()
            if array_id in wanted
            for status in _together(array_id, jobs, told, is_queue=is_queue)
        }


def _together(
    array_id: str,
    jobs: Mapping[str, JobStatus],
    told: Mapping[str, JobStatus],
    *,
    is_queue: bool,
) -> Iterator[JobStatus]:
    going_on = [one for one in jobs.values() if one.phase is not Phase.ENDED]
    alive = [one for one in going_on if one.id in told]
    if alive:
        running = (one for one in alive if one.phase is Phase.RUNNING)
        yield next(running, alive[0])._replace(id=array_id)
    elif not going_on:
        worst = max(jobs.values(), key=_badness)
        is_open = is_queue and worst.exit_code == 0
        yield worst._replace(id=array_id, exit_code=None if is_open else worst.exit_code)


def _badness(status: JobStatus) -> int:
    if status.failure is not None:
        return 4
    if status.is_cancelled:
        return 3
    return {None: 1, 0: 0}.get(status.exit_code, 2)
