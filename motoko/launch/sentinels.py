"""What files say of the work of a run, as its study or the phase it is of declares them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from motoko.columns import is_motokos
from motoko.config.sentinels import SentinelsConfig, sentinels_of
from motoko.config.values import Refused
from motoko.durable import replace_file
from motoko.errors import SubmissionFailed
from motoko.job.layout import FAILED, FINISHED, signs_file
from motoko.job.phases import Look, PhaseFiles
from motoko.phrases import listed
from motoko.study.system_dirs import ROOT, SENTINELS

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


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
        root: str | Path,
        row: Mapping[str, Any],
        job: Mapping[str, Any],
        signs_file: Path,
    ) -> None:
        """``signs_file`` keeps which signs of failures there were before."""
        self._signs_file = signs_file
        self._config = config
        self._title = title
        self._root = root
        self._values = {**row, **job}
        self._files = phase_files(config, job)

    @property
    def _place(self) -> Path:
        return Path(self._root, PLACEHOLDER.sub(self._value, self._config.directory))

    def _value(self, found: re.Match[str]) -> str:
        given = self._values.get(found[1].lower())
        if given is None:
            why = f"{{{found[1]}}} in the directory of its sentinels has no value"
            raise SubmissionFailed(self._title, why, transient=False)
        return str(given)

    def look(self) -> Look:
        """What is there now."""
        return self._files.look(self._place, self._signs_before())

    def _signs_before(self) -> dict[str, list[int]]:
        try:
            return dict(json.loads(self._signs_file.read_bytes()))
        except (FileNotFoundError, ValueError):  # there were none, or a full disk cut it short
            return {}

    def is_finished_else_fresh(self) -> bool:
        """Whether nothing is left to be done; else sentinels of failures are removed before the
        work is begun again, and other signs of them are remembered."""
        place = self._place
        if self._files.look(place).state == FINISHED:
            return True
        self._files.forget_failures(place)
        if seen := self._files.seen(place):
            replace_file(self._signs_file, [json.dumps(seen).encode()])
        return False


def sentinels(
    config: SentinelsConfig | None,
    title: str,
    run_dir: str,
    row: Mapping[str, Any],
    job: Mapping[str, Any],
) -> Sentinels | None:
    """The files that speak of a run whose study declares these; None if nobody declares any."""
    given, root = row.get(SENTINELS), Path(run_dir)
    if isinstance(given, Mapping) and is_motokos(SENTINELS, given):
        try:
            config = sentinels_of({k: v for k, v in given.items() if k != ROOT})
            root = root / str(given[ROOT])
        except Refused:  # something of the user's own that is so named
            pass
    if config is None:
        return None
    signs = Path(signs_file(run_dir, row.get("attempt", 0)))
    return Sentinels(config, title, root, row, job, signs)


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
