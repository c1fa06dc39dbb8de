"""Whether steps are asked for with what they were given under the run name before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio

from motoko.store.codec import is_same
from motoko.workflow import resuming
from motoko.workflow.pipelines.bound import Bindings
from motoko.workflow.pipelines.in_turn import InTurn

if TYPE_CHECKING:
    from motoko.store.ledger import Ledger
    from motoko.study.study import Study

#: The fact of a run name that says what steps were given: by step, in the order it was said.
STEPS: Final = "steps"
#: Of what a step was given at the beginning, and lately, so much is remembered.
_MOST: Final = 50

Parameters = Mapping[str, Any]


class Asked:
    """What steps of pipelines are given while one process orchestrates a run name.

    A step may be given one thing after the other. It is begun with other parameters than
    before when the first thing that a process gives it is none that it was ever given.
    """

    def __init__(self, before: Asked | None = None) -> None:
        """``before`` is what was given when the same workflow was orchestrated last."""
        self._names: set[str] = set()
        #: Held by a pipeline until it is known whether what it gives is refused: of several
        #: that begin at the same time one is the first.
        self.asking = anyio.Lock()
        #: How often it was said that something is done anew.
        self.n_said = 0
        #: By study: the runs that pipelines had in the end.
        self.runs: dict[Study, set[int]] = {}
        #: Whether a pipeline has ended before it had asked for all that it would.
        self.is_cut_short = False
        #: By phase: what its function was asked for with, whether it was called or not.
        self.calls: dict[str, set[str]] = {}
        #: By phase: calls of its function that came to their end, whichever pipeline's.
        self.ended: dict[str, set[str]] = {}
        #: By phase: what became of calls of its function that failed, whichever pipeline's, by
        #: the keys of their firings.
        self.failures: dict[str, dict[str, dict[str, Any]]] = {}
        #: Calls that several pipelines offer at the same time.
        self.in_turn = InTurn()
        #: By pipeline in which something has failed, and that goes on only if actions mend it:
        #: the key of the firing that awaits it, "" for ``main``.
        self.stuck: dict[object, str] = {}
        #: How many pipelines have begun.
        self.n_begun = 0
        #: By step: how often files were believed of which nobody knows what they were made for.
        self.believed: dict[str, int] = {}
        self.told_of: set[str] = set()
        #: What functions bind, as it was before they were called.
        self.bindings: Bindings = Bindings() if before is None else before.bindings
        #: What tells of pipelines that run how far their functions are.
        self.tellers: list[Callable[[], dict[str, str]]] = []

    def told(self) -> dict[str, str]:
        """How far functions are, in words, by step and phase; may be asked in any thread."""
        return {name: text for tell in list(self.tellers) for name, text in tell().items()}

    def note(
        self,
        ledger: Ledger,
        run_name: str,
        given: Mapping[str, Parameters],
        *,
        is_accepted: bool,
    ) -> list[tuple[str, str, str]]:
        """Keep what steps are given; what of it is other than before, in words.

        ParametersChanged unless that ``is_accepted``.
        """
        known: dict[str, list[Parameters]] = (ledger.run_name(run_name) or {}).get(STEPS, {})
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        news: dict[str, list[Parameters]] = {}
        for name, now in given.items():
            stored = {key: kept for key, v in now.items() for kept in resuming.stored(v)}
            earlier = known.get(name, [])
            if any(_is_same(one, stored) for one in earlier):
                continue
            if earlier and name not in self._names:
                before |= earlier[-1]
                after |= stored
            kept = [*earlier, stored]
            news[name] = kept if len(kept) <= 2 * _MOST else [*kept[:_MOST], *kept[-_MOST:]]
        changes = resuming.check(
            run_name, {resuming.PARAMETERS: before}, after, is_accepted=is_accepted
        )
        if news:
            ledger.set_run_name(run_name, **{STEPS: {**known, **news}})
        return changes

    def remember(self, given: Mapping[str, Parameters]) -> None:
        """These were asked for by this process."""
        self._names |= given.keys()


def _is_same(one: Parameters, other: Parameters) -> bool:
    return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
