"""Secondary indexes and counters of a study's database, kept with every write.

Runs of one run name in one state are a *group*: a number, a range of one tree of integers
(``group << 40 | run id``) and a mergeable counter. CREATED runs that wait for a step of their
pipeline are a group of their own, so that no launcher has to look at them. Job values are kept
in one tree per entry, ordered by value, then job.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from BTrees.Length import Length
from BTrees.OOBTree import OOTreeSet

from motoko.model import states
from motoko.model.bounds import Interval
from motoko.store.codec import decode, encode, ordered

_ID_BITS = 40
_ID_MASK = (1 << _ID_BITS) - 1
_ID_BYTES = 8
_AFTER = b"\xff" * (_ID_BYTES + 1)


class Groups:
    """Runs by run name and state, with their numbers."""

    def __init__(self, trees: Any) -> None:
        self._numbers = trees["groups"]
        self._members = trees["by_group"]
        self._counts = trees["counts"]

    def number(self, run_name: str, state: str, *, awaits_step: bool = False) -> int:
        """The group's number; the first call for a group makes it."""
        key = encode(_key(run_name, state, awaits_step=awaits_step))
        number = self._numbers.get(key)
        if number is None:
            number = len(self._counts) + 1
            self._numbers[key] = number
            self._counts[number] = Length()
        return int(number)

    def of(self, row: Mapping[str, Any]) -> int:
        """The number of the group of a run."""
        awaits_step = states.awaits_step(row)
        return self.number(row["run_name"], row["state"], awaits_step=awaits_step)

    def add_many(self, group: int, run_ids: Iterable[int]) -> None:
        """Put runs that are in no group into this one."""
        base = group << _ID_BITS
        self._counts[group].change(self._members.update([base | run_id for run_id in run_ids]))

    def move(self, run_id: int, before: int, after: int) -> None:
        """Take a run out of one group and put it into another."""
        self._members.remove(before << _ID_BITS | run_id)
        self._members.insert(after << _ID_BITS | run_id)
        self._counts[before].change(-1)
        self._counts[after].change(1)

    def remove(self, run_id: int, group: int) -> None:
        """Take a run out of its group."""
        self._members.remove(group << _ID_BITS | run_id)
        self._counts[group].change(-1)

    def chosen(
        self,
        run_names: frozenset[str] | None,
        states: frozenset[str] | None,
        *,
        awaits_step: bool | None = None,
    ) -> list[int]:
        """Numbers of the groups with one of these run names and one of these states, of runs
        that wait for a step, of those that do not, or of all."""
        kinds = (False, True) if awaits_step is None else (awaits_step,)
        if run_names is not None and states is not None:
            keys = (_key(n, s, awaits_step=k) for n in run_names for s in states for k in kinds)
            found = (self._numbers.get(encode(key)) for key in keys)
            return [number for number in found if number is not None]
        return [
            number
            for key, number in self._numbers.items()
            if _is_chosen(decode(key), run_names, states, kinds)
        ]

    def count(self, group: int) -> int:
        """How many runs a group has."""
        return int(self._counts[group]())

    def members(self, group: int) -> list[int]:
        """Ids of the runs of a group, ascending."""
        base = group << _ID_BITS
        return [key & _ID_MASK for key in self._members.keys(base, base | _ID_MASK)]

    def first(self, group: int, most: int) -> list[int]:
        """The lowest ids of a group, ascending."""
        base = group << _ID_BITS
        return [
            key & _ID_MASK for key in islice(self._members.keys(base, base | _ID_MASK), most)
        ]

    def counted(self) -> Iterator[tuple[str, str, int]]:
        """Run name, state and number of runs, as far as there are any."""
        found: dict[tuple[str, str], int] = {}
        for key, number in self._numbers.items():
            if n_runs := self.count(number):
                run_name, state, *_ = decode(key)
                found[run_name, state] = found.get((run_name, state), 0) + n_runs
        for (run_name, state), n_runs in found.items():
            yield run_name, state, n_runs

    def differences(self, runs: Mapping[int, Mapping[str, Any]]) -> list[str]:
        """Compare with a full scan (run id to entries): what differs, in words."""
        expected = {self.of(row) << _ID_BITS | run_id for run_id, row in runs.items()}
        found = set(self._members)
        problems = [f"run {key & _ID_MASK} is missing in its group" for key in expected - found]
        problems += [f"run {key & _ID_MASK} is in a wrong group" for key in found - expected]
        for key, number in self._numbers.items():
            n_members = len(self.members(number))
            if n_members != self.count(number):
                problems.append(
                    f"the counter of {decode(key)} says {self.count(number)}, not {n_members}"
                )
        return problems


def _key(run_name: str, state: str, *, awaits_step: bool) -> list[Any]:
    return [run_name, state, True] if awaits_step else [run_name, state]


def _is_chosen(
    key: list[Any],
    run_names: frozenset[str] | None,
    states: frozenset[str] | None,
    kinds: Container[bool],
) -> bool:
    run_name, state, *awaits_step = key
    is_named = run_names is None or run_name in run_names
    return is_named and (states is None or state in states) and bool(awaits_step) in kinds


class JobValues:
    """Jobs by the value of each of their entries."""

    def __init__(self, trees: Any) -> None:
        self._by_name = trees["by_value"]

    def tree(self, name: str) -> Any:
        """The index of one entry; the first call makes it."""
        tree = self._by_name.get(name)
        if tree is None:
            tree = self._by_name[name] = OOTreeSet()
        return tree

    def clear(self) -> None:
        """Forget all indexes."""
        self._by_name.clear()

    def is_indexed(self, name: str) -> bool:
        """Whether an index of this entry exists."""
        return name in self._by_name

    def find(self, name: str, interval: Interval, most: int) -> list[int] | None:
        """Ids of the jobs whose value lies in the interval, None if there are more than
        ``most``. The bounds count as part of the interval."""
        low = None if interval.low is None else ordered(interval.low)
        high = None if interval.high is None else ordered(interval.high) + _AFTER
        found: list[int] = []
        for key in self._by_name[name].keys(low, high):
            if len(found) == most:
                return None
            found.append(int.from_bytes(key[-_ID_BYTES:], "big"))
        return found


def value_key(key: bytes, job_id: int) -> bytes:
    """The member that stands for a job in the index of one of its values."""
    return key + job_id.to_bytes(_ID_BYTES, "big")
