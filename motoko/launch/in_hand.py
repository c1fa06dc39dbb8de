"""The jobs in the hands of a batch system: whose they are, and which of them are an array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from motoko.launch.attempt import Attempt
from motoko.launch.desk import Desk


class Held(NamedTuple):
    """An attempt that a job executes, or will."""

    desk: Desk
    attempt: Attempt


class InHand:
    """Attempts by their jobs, more than one of a job where runs are packed."""

    def __init__(self, array_of: Callable[[str], str | None]) -> None:
        """``array_of`` tells the array that a job is one of."""
        self._array_of = array_of
        self._jobs: dict[str, list[Held]] = {}
        #: Those whose ids nobody knows, by what they are looked for.
        self._sought: dict[str, list[Held]] = {}
        #: The jobs that are left of each array, the oldest first.
        self.arrays: dict[str, dict[str, Desk]] = {}
        self._n_jobs: Counter[Desk] = Counter()

    def __iter__(self) -> Iterator[Held]:
        """All attempts, of jobs that are known and that are looked for."""
        for jobs in (*self._jobs.values(), *self._sought.values()):
            yield from jobs

    def n_jobs(self, desk: Desk | None = None) -> int:
        """How many jobs there are, of one study or of all."""
        return self._n_jobs.total() if desk is None else self._n_jobs[desk]

    def of(self, job_id: str | None) -> list[Held]:
        """The attempts of a job that are not over."""
        return list(self._jobs.get(job_id or "", ()))

    def find(self, nonce: str) -> Held | None:
        """The attempt of this nonce, if its job is known."""
        found = (held for jobs in self._jobs.values() for held in jobs)
        return next((held for held in found if held.attempt.nonce == nonce), None)

    def add(self, job_id: str, held: Held) -> None:
        """A job executes this attempt, or will."""
        if job_id not in self._jobs:
            self._n_jobs[held.desk] += 1
            if (array := self._array_of(job_id)) is not None:
                self.arrays.setdefault(array, {})[job_id] = held.desk
        self._jobs.setdefault(job_id, []).append(held)

    def leave(self, job_id: str, attempt: Attempt) -> bool:
        """An attempt is over; whether others of its job are not."""
        before = self._jobs.get(job_id, [])
        rest = [held for held in before if held.attempt is not attempt]
        if rest or not before:
            if rest:
                self._jobs[job_id] = rest
            return bool(rest)
        del self._jobs[job_id]
        self._n_jobs[before[0].desk] -= 1
        array = self._array_of(job_id)
        if array is not None:
            self.arrays[array].pop(job_id, None)
            if not self.arrays[array]:
                del self.arrays[array]
        return False

    def seek(self, key: str, held: Held) -> None:
        """A job that may be there executes this attempt, or will."""
        if key not in self._sought:
            self._n_jobs[held.desk] += 1
        self._sought.setdefault(key, []).append(held)

    def sought(self, key: str) -> list[Held]:
        """The attempts of a job that is looked for."""
        return list(self._sought.get(key, ()))

    def take_sought(self, key: str) -> list[Held]:
        """The same, which is looked for no longer."""
        found = self._sought.pop(key)
        self._n_jobs[found[0].desk] -= 1
        return found
