"""What a check of a workflow's databases found, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_MOST_NAMED = 5


class Finding(NamedTuple):
    """Something that is not as it should be: where, what, and what to do."""

    where: str
    what: str
    advice: str


@dataclass
class Report:
    """What was checked, in words, and everything that was found."""

    checked: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, where: str, what: str, advice: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(where, what, advice))

    def add_runs(self, study: str, run_ids: Sequence[int], what: str, advice: str) -> None:
        """Note one finding about several runs, if there are any."""
        if run_ids:
            self.add(study, f"{runs_in_words(run_ids)}: {what}", advice)


def runs_in_words(run_ids: Sequence[int]) -> str:
    """A few runs by their ids, of many only the first: ``runs 1, 2, 3, 4, 5 and 7 more``."""
    ids = sorted(run_ids)
    named = ", ".join(map(str, ids[:_MOST_NAMED]))
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return f"{'run' if len(ids) == 1 else 'runs'} {named}{more}"
