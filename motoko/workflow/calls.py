"""Main and the actions that are called now: which of them wait, and for what others decide."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager

import anyio

from motoko.study.waiting import Called, calling
from motoko.workflow.rule import Rule

Key = tuple[str, str]


class Calls:
    """What is called now of one workflow."""

    def __init__(
        self, rules: Mapping[Key, Rule], registered: Container[Key], look: Callable[[], None]
    ) -> None:
        """``look`` has the conditions evaluated, soon."""
        self._rules = rules
        self._registered = registered
        self._look = look
        #: The keys of the firings; that of main is "".
        self._called: dict[Called, str] = {}
        self._evaluated = anyio.Event()
        self._is_over = False

    @contextmanager
    def calling(self, key: str = "") -> Iterator[None]:
        """Main is called inside the block, or the action of this firing."""
        with calling(self._decided) as called:
            self._called[called] = key
            try:
                yield
            finally:
                del self._called[called]

    def have_evaluated(self) -> None:
        """All conditions were evaluated."""
        self._evaluated.set()
        self._evaluated = anyio.Event()

    def have_ended(self) -> None:
        """No conditions are evaluated any more, so that nobody waits for others to decide."""
        self._is_over = True
        self._evaluated.set()

    @property
    def n_waiting(self) -> int:
        """How many of them await runs or selections."""
        return sum(called.n_awaited > 0 for called in self._called)

    async def _decided(self, study: str, run_ids: Iterable[int]) -> None:
        """Wait until the actions were called, and have ended, whose conditions on runs hold for
        some of these; not for one that awaits something itself, as the one that asks does."""
        for _ in range(2):  # the first one may have begun before
            self._look()
            await self._evaluated.wait()
            if self._is_over:
                return
        ids = set(run_ids)
        firings: set[str] = set()
        held_back = dict(self._rules)
        while (held_back or firings) and not self._is_over:
            firings.update(*(rule.deciding(study, ids) for rule in held_back.values()))
            waiting = {key for called, key in self._called.items() if called.n_awaited}
            firings &= {k for rule in self._rules.values() for k in rule.flights} - waiting
            held_back = {
                key: rule
                for key, rule in held_back.items()
                if key in self._registered
                and rule.holds_back(study, ids)
                and waiting.isdisjoint(rule.flights)
            }
            if held_back or firings:
                await self._evaluated.wait()
