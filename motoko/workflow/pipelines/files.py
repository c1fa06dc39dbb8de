"""What files say of a phase of a pipeline, as its step declares them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from motoko.config.sentinels import SentinelsConfig, sentinels_of
from motoko.config.values import Refused
from motoko.errors import StepNotRunnable
from motoko.launch.made_for import Made, Purpose
from motoko.launch.sentinels import PLACEHOLDER, cause_in, entry, phase_files
from motoko.pipeline import Step
from motoko.systems import SimSystem
from motoko.workflow.pipelines import payloads


class Files(NamedTuple):
    """The files that a step declares for one system, and the directory of that."""

    config: SentinelsConfig
    root: Path

    def entry(self, root: str) -> dict[str, Any]:
        """What the runs of the phase are given, so that the launcher asks these files; ``root``
        is what it has for their directory."""
        return entry(self.config, root)

    def made(self, purpose: Purpose) -> Made:
        """They, and what is known of them where work is done for this."""
        return Made(phase_files(self.config), self._place, purpose)

    def is_finished_else_fresh(self, made: Made) -> bool:
        """Whether nothing is left to be done; else sentinels of failures are removed, before
        the work is begun again."""
        if made.is_finished:
            return True
        made.begin()
        phase_files(self.config).forget_failures(self._place)
        return False

    @property
    def _place(self) -> Path:
        return self.root / self.config.directory

    def seen(self) -> dict[str, list[int]]:
        """The signs of failures that are there now."""
        return phase_files(self.config).seen(self._place)


def failure(made: Made, before: Mapping[str, Sequence[int]]) -> str | None:
    """Why work has failed, if files say so, but for signs that were there before; else it has
    come to a good end."""
    cause = cause_in(made.look(before))
    if cause is None:
        made.conclude()
    return cause


def declared(step: Step) -> SentinelsConfig | None:
    """The files that a step declares; StepNotRunnable for what cannot be meant."""
    if step.sentinels is None:
        return None
    try:
        return sentinels_of(step.sentinels)
    except Refused as refused:
        where = "".join(f"[{part!r}]" for part in refused.at)
        why = f"sentinels{where}: expected {refused.expected}"
        raise StepNotRunnable(step.name, why) from None


def files_of(
    config: SentinelsConfig | None, step: Step, system: SimSystem | None, default: Path
) -> Files | None:
    """Those of a system, or without one in the default directory. StepNotRunnable when it lacks
    what their directory names."""
    if config is None:
        return None
    directory = payloads.filled_text(config.directory, step, system)
    root = default if system is None else system.root.absolute()
    return Files(replace(config, directory=directory), root)


def check_without_runs(config: SentinelsConfig | None, step: Step) -> None:
    """StepNotRunnable when their directory names values of jobs: a function has none."""
    left = config and PLACEHOLDER.search(re.sub(r"\{system\.[^{}]*\}", "", config.directory))
    if left:
        why = f"{left[0]} in the directory of its sentinels; a function has no job values"
        raise StepNotRunnable(step.name, why)
