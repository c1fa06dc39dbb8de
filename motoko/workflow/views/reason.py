"""The answer to *why*: one sentence, and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reason:
    """Why a run or an event is as it is."""

    #: ``study.id``, or the name of an event.
    subject: str
    state: str
    #: The reason in a word or two, for programs.
    reason: str
    sentence: str
    #: What it was concluded from, by name; times are seconds since the epoch.
    evidence: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The documented keys of ``motoko why --json``."""
        return {
            "subject": self.subject,
            "state": self.state,
            "reason": self.reason,
            "sentence": self.sentence,
            "evidence": self.evidence,
        }
