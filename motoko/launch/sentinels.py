"""What files say of the work of a run, as its study or the phase it is of declares them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from motoko.columns import is_motokos
from motoko.config.sentinels import SentinelsConfig, sentinels_of
from motoko.config.values import Refused
from motoko.durable import replace_file
from motoko.errors import JobSideError, SubmissionFailed
from motoko.job.facts import read_facts
from motoko.job.layout import FAILED, signs_file
from motoko.job.phases import Look, PhaseFiles
from motoko.launch.inheritance import default_values
from motoko.launch.made_for import Made, Notes, Purpose, in_words
from motoko.phrases import listed
from motoko.study.study import Study
from motoko.study.system_dirs import ROOT, SENTINELS

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
#: What is said of an attempt that was not executed.
SAID_FINISHED: Final = "its files said that it was finished: nothing was executed"
BELIEVED: Final = f"{SAID_FINISHED}, and nobody knows for which values they were made"

#: For which values work is done in a run directory, if that is known.
Purposes = Callable[[str], Purpose | None]


def entry(config: SentinelsConfig, root: str | Path) -> dict[str, Any]:
    """What runs are given of which these files speak, below another directory than theirs."""
    given = {f.name: getattr(config, f.name) for f in fields(config)}
    usual = {f.name: f.default for f in fields(config)}
    return {**{k: v for k, v in given.items() if v != usual[k]}, ROOT: str(root)}


def phase_files(config: SentinelsConfig, job: Mapping[str, Any] | None = None) -> PhaseFiles:
    """All units that are declared; of a job only its own, if its values ``component`` and
    ``window`` name such."""
    components, windows = config.components, config.windows
    component, window = (str((job or {}).get(name)) for name in ("component", "window"))
    if component in components:
        components = (component,)
    if not isinstance(windows, Mapping):
        windows = (window,) if window in windows else windows
    else:
        windows = {
            name: (window,) if window in windows[name] else windows[name] for name in components
        }
    return PhaseFiles(config.success, config.failure, components, windows)


class Sentinels:
    """The files that speak of one run. Looking raises SubmissionFailed when their directory has
    a placeholder without a value, and OSError."""

    def __init__(
        self,
        config: SentinelsConfig,
        title: str,
        place: tuple[str | Path, str],
        row: Mapping[str, Any],
        job: Mapping[str, Any],
        attempt: int,
        purposes: Purposes | None = None,
    ) -> None:
        """``place`` is the directory that theirs is told from, and that of the run, which keeps
        which signs of failures there were before."""
        self._config = config
        self._title = title
        self._root, self._run_dir = place
        self._signs_file = Path(signs_file(self._run_dir, attempt))
        self._values = {**row, **job}
        self._files = phase_files(config, job)
        self._purposes = purposes

    @property
    def _place(self) -> Path:
        return Path(self._root, PLACEHOLDER.sub(self._value, self._config.directory))

    def _value(self, found: re.Match[str]) -> str:
        given = self._values.get(found[1].lower())
        if given is None:
            why = f"{{{found[1]}}} in the directory of its sentinels has no value"
            raise SubmissionFailed(self._title, why, transient=False)
        return str(given)

    @property
    def made(self) -> Made:
        """They, and what is known of them; what lies in the run's own directory was left there
        for its values."""
        place = self._place
        is_own = Path(os.path.abspath(place)).is_relative_to(os.path.abspath(self._run_dir))
        purposes = None if is_own else self._purposes
        return Made(self._files, place, purposes and purposes(self._run_dir))

    def look(self) -> Look:
        """What is there now."""
        return self.made.look(self._signs_before())

    def _signs_before(self) -> dict[str, list[int]]:
        try:
            return dict(json.loads(self._signs_file.read_bytes()))
        except (FileNotFoundError, ValueError):  # there were none, or a full disk cut it short
            return {}

    def is_finished_else_fresh(self, warn: Callable[[str], object]) -> bool:
        """Whether nothing is left to be done; else sentinels of failures are removed before the
        work is begun again, and other signs of them are remembered. What is odd is told."""
        made, place = self.made, self._place
        if made.is_finished:
            warn(BELIEVED if made.is_believed else SAID_FINISHED)
            return True
        if changes := made.changes:
            warn(f"files that were made for other values do not count: {in_words(changes)}")
        made.begin()
        self._files.forget_failures(place)
        if seen := self._files.seen(place):
            replace_file(self._signs_file, [json.dumps(seen).encode()])
        return False

    def conclude(self) -> None:
        """The run is FINISHED."""
        with suppress(SubmissionFailed, OSError):
            self.made.conclude()


def notes_of(study: Study) -> Notes:
    """What is noted of the files of a study."""
    home = study.workflow_file.parent if study.workflow_file else study.directory
    return Notes(study.state_dir, study.name, home)


def purposes(study: Study) -> Purposes:
    """What tells of a run directory for which values work is done in it."""
    notes, defaults = notes_of(study), default_values(study.schema)

    def purpose(run_dir: str) -> Purpose | None:
        with suppress(JobSideError):
            facts = read_facts(run_dir)
            values, is_complete = facts.get("values"), facts.get("values_complete", True)
            return None if values is None else Purpose(notes, values, defaults, is_complete)
        return None

    return purpose


def sentinels(
    config: SentinelsConfig | None,
    title: str,
    run_dir: str,
    row: Mapping[str, Any],
    job: Mapping[str, Any],
    purposes: Purposes | None = None,
) -> Sentinels | None:
    """The files that speak of a run whose study declares these; None if nobody declares any.

    Without ``purposes`` they are believed, whatever they were made for.
    """
    given, root = row.get(SENTINELS), Path(run_dir)
    if isinstance(given, Mapping) and is_motokos(SENTINELS, given):
        try:
            config = sentinels_of({k: v for k, v in given.items() if k != ROOT})
            root = root / str(given[ROOT])
        except Refused:  # something of the user's own that is so named
            pass
    if config is None:
        return None
    place = root, run_dir
    return Sentinels(config, title, place, row, job, row.get("attempt", 0), purposes)


def failure_in(found: Sentinels | None) -> str | None:
    """Why the files of a run say that it failed; None when they do not."""
    if found is None:
        return None
    try:
        return cause_in(found.look())
    except SubmissionFailed:  # declared in another way since it began
        return None


def cause_in(look: Look) -> str | None:
    """Why files say that work has failed; None when they do not."""
    if look.state != FAILED:
        return None
    signs = [sign for some in look.signs.values() for sign in some]
    return f"its files say so: {listed(signs[:5])}" + (
        f" and {len(signs) - 5} more" if len(signs) > 5 else ""
    )
