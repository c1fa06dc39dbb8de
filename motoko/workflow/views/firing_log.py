"""The log of all firings, from the records in the workflow's database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.store.ledger import FAILURE

if TYPE_CHECKING:
    from motoko.store.ledger import Ledger

#: How a firing is: over, being executed, or left by an orchestrator that is gone.
ENDED, OPEN, INTERRUPTED = "ended", "open", "interrupted"

Ranges = list[list[int]]


class Logged(NamedTuple):
    """One firing that changed something; runs are pairs of first and last id."""

    key: str
    run_name: str
    event: str
    task: str
    study: str | None
    runs: Ranges
    state: str
    began: float
    ended: float | None
    created: Mapping[str, Ranges]
    updated: Mapping[str, Ranges]
    variables: list[str]
    #: Why a call of a function of a pipeline came to nothing.
    failure: str | None

    @property
    def runs_in_words(self) -> str:
        """The runs that the action was called with."""
        return "" if self.study is None else runs_in_words({self.study: self.runs})

    def touches(self, study: str, run_id: int) -> str | None:
        """What it did to a run, in a word."""
        for what, found in (("created", self.created), ("changed", self.updated)):
            if any(first <= run_id <= last for first, last in found.get(study, ())):
                return what
        return None

    def as_json(self) -> dict[str, Any]:
        """The documented keys of an event in ``motoko info --json``."""
        return self._asdict()


def logged(
    ledger: Ledger,
    orchestrated: Collection[str],
    *,
    run_name: str | None = None,
    last: int | None = None,
) -> list[Logged]:
    """The firings, oldest first; only so many of the last.

    ``orchestrated`` are the run names whose orchestrators run.
    """
    records = ledger.firings(last, run_name)
    return [_logged(key, record, orchestrated) for key, record in records.items()]


def _logged(key: str, record: Mapping[str, Any], orchestrated: Collection[str]) -> Logged:
    state = ENDED
    if record["ended"] is None:
        state = OPEN if record["run_name"] in orchestrated else INTERRUPTED
    names = (name for name in Logged._fields if name not in ("key", "state", "failure"))
    failure = record.get(FAILURE, {}).get("cause")
    facts = {name: record[name] for name in names}
    return Logged(key=key, state=state, failure=failure, **facts)


def runs_in_words(by_study: Mapping[str, Iterable[Iterable[int]]]) -> str:
    """Runs as people write them: ``mult.1-5, norm.2``."""
    return ", ".join(
        f"{study}.{first}" if first == last else f"{study}.{first}-{last}"
        for study, found in by_study.items()
        for first, last in found
    )
