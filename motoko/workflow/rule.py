"""A rule: one registered action as the event loop has it, its condition and its firings."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.errors import ActionFailed, MotokoError
from motoko.phrases import counted
from motoko.store.ranges import ranges
from motoko.workflow import triggers
from motoko.workflow.actions import Action, condition_in_words
from motoko.workflow.triggers import FilterMonitor, Monitor, Trigger

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

_LONGEST_ANSWER = 200
#: A firing that changed nothing is repeated after something changed, and after this pause,
#: which doubles each time.
_FIRST_PAUSE_S = 0.05


class Asked(NamedTuple):
    """A condition that is a function, asked for the last time."""

    when: float
    took_s: float
    #: What it said, by study; "" where it is asked of the workflow as such.
    said: dict[str, str]
    is_true: bool


class Flight(NamedTuple):
    """A firing that goes on."""

    trigger: Trigger
    since: float
    #: What was known when it began, which is less than what it has seen.
    known: tuple[int, int]


@dataclass(frozen=True)
class Idle:
    """A firing that changed nothing, and how often that was so in a row."""

    n_times: int
    run_ids: tuple[int, ...]
    #: It is repeated when more is known than that.
    known: tuple[int, int]
    #: When it is repeated at the earliest, on the monotonic clock.
    due: float
    when: float


@dataclass
class Rule:
    """One registered action, its monitors and its firings."""

    action: Action
    monitors: dict[str, Monitor] = field(default_factory=dict)
    #: Runs in flight by study; "" stands for a firing without runs.
    in_flight: dict[str, set[int]] = field(default_factory=dict)
    flights: dict[str, Flight] = field(default_factory=dict)
    #: By study: runs that the next firing is for, which begins when the one that goes on has
    #: ended.
    held_back: dict[str, set[int]] = field(default_factory=dict)
    #: By study: the last firing, if it changed nothing.
    idle: dict[str, Idle] = field(default_factory=dict)
    #: How often time has passed for a condition that may read anything.
    n_ticks: int = 0
    asked: Asked | None = None
    #: Since when a function is being asked, if one is.
    asked_since: float | None = None

    def replaced(self, action: Action, monitors: dict[str, Monitor]) -> Rule:
        """The rule of an action that is registered in the place of this one's: what of this is
        under way counts as its own, and neither knows of a firing that the other does not."""
        return replace(self, action=action, monitors=monitors, asked=None, asked_since=None)

    @property
    def n_firings(self) -> int:
        """How many firings go on."""
        return len(self.flights)

    async def triggers(self, workflow: Workflow) -> list[Trigger]:
        """What fires now. ActionFailed for what a function of the user raises."""
        try:
            if self.action.is_constraint:
                return [t for m in self.monitors.values() for t in await m.trigger()]
            return await self._ask(workflow)
        except MotokoError:
            raise
        except Exception as error:
            raise ActionFailed(f"condition of {self.action.label}", None, error) from error

    async def _ask(self, workflow: Workflow) -> list[Trigger]:
        said: dict[str, str] = {}
        self.asked_since = began = time.time()
        clock = time.perf_counter()
        try:
            if self.monitors:
                found = [t for m in self.monitors.values() for t in await _filtered(m, said)]
            else:
                found = await triggers.ask(workflow, self.action, said)
        finally:
            self.asked_since = None
        took_s = time.perf_counter() - clock
        shown = {study: text[:_LONGEST_ANSWER] for study, text in said.items()}
        self.asked = Asked(began, took_s, shown, bool(found))
        return found

    def look_again(self) -> None:
        """Time has passed: a condition that is a function may say something else by now."""
        if not self.action.is_constraint:
            self.n_ticks += 1
        for monitor in self.monitors.values():
            monitor.look_again()

    def due(self, trigger: Trigger, n_changes: int) -> float:
        """When it fires for this at the earliest, on the monotonic clock: infinity if its last
        firing changed nothing, and nothing has changed since in the databases."""
        idle = self.idle.get(trigger.task or "")
        if idle is None or idle.run_ids != trigger.run_ids:
            return 0.0
        return math.inf if idle.known == (n_changes, self.n_ticks) else idle.due

    def note(self, key: str, has_changed: bool, longest_pause_s: float) -> bool:
        """Note what came of a firing; whether it is the first in a row that changed nothing."""
        trigger, _, known = self.flights[key]
        task = trigger.task or ""
        last = self.idle.pop(task, None)
        if has_changed:
            return False
        is_again = last is not None and last.run_ids == trigger.run_ids
        n_times = last.n_times + 1 if last is not None and is_again else 1
        pause_s = min(longest_pause_s, _FIRST_PAUSE_S * 2 ** min(n_times, 20))
        due = time.monotonic() + (pause_s if is_again else 0.0)
        self.idle[task] = Idle(n_times, trigger.run_ids, known, due, time.time())
        return not is_again

    def begin(self, key: str, trigger: Trigger, n_changes: int) -> None:
        """A firing begins."""
        self.flights[key] = Flight(trigger, time.time(), (n_changes, self.n_ticks))
        self.in_flight.setdefault(trigger.task or "", set()).update(trigger.run_ids)

    def end(self, key: str) -> None:
        """A firing has ended, however."""
        trigger = self.flights.pop(key).trigger
        task = trigger.task or ""
        rest = self.in_flight.get(task, set()) - set(trigger.run_ids)
        if rest:
            self.in_flight[task] = rest
        else:
            self.in_flight.pop(task, None)

    def deciding(self, study: str, run_ids: set[int]) -> list[str]:
        """The firings that go on for some of these runs of a study, and may put them back."""
        if self.action.is_error_handler:
            return []
        flights = [(k, f.trigger) for k, f in self.flights.items() if f.trigger.task == study]
        return [key for key, trigger in flights if not run_ids.isdisjoint(trigger.run_ids)]

    def holds_back(self, study: str, run_ids: set[int]) -> bool:
        """Whether a firing for some of these runs of a study waits for the end of another."""
        return not run_ids.isdisjoint(self.held_back.get(study, ()))

    def report(self) -> dict[str, Any]:
        """What is to be known of it, as plain values; may be asked in any thread."""
        action = self.action
        return {
            "event": action.event_name,
            "task": action.task,
            "condition": condition_in_words(action.condition),
            "constraints": action.constraints,
            "is_serial": action.is_serial,
            "is_once": action.is_once,
            "call": action.call,
            "is_error_handler": action.is_error_handler,
            "asked": None if self.asked is None else self.asked._asdict(),
            "asked_since": self.asked_since,
            "flights": [
                {
                    "study": flight.trigger.task,
                    "runs": ranges(flight.trigger.run_ids),
                    "since": flight.since,
                }
                for flight in list(self.flights.values())
            ],
            "idle": [
                {
                    "study": study or None,
                    "runs": ranges(idle.run_ids),
                    "since": idle.when,
                    "n_times": idle.n_times,
                }
                for study, idle in list(self.idle.items())
            ],
        }


async def _filtered(monitor: Monitor, said: dict[str, str]) -> list[Trigger]:
    found = await monitor.trigger()
    if isinstance(monitor, FilterMonitor):
        said[monitor.task] = f"true for {counted(len(monitor.matching), 'run')}"
    return found
