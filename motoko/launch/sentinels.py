"""What files say of the work of a run, as its study declares them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from motoko.config.sentinels import SentinelsConfig
from motoko.errors import SubmissionFailed
from motoko.job.layout import FAILED
from motoko.job.phases import Look, PhaseFiles
from motoko.phrases import listed

Looker = Callable[[], Look]

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def looker(
    config: SentinelsConfig | None,
    title: str,
    run_dir: str,
    row: Mapping[str, Any],
    job: Mapping[str, Any],
) -> Looker | None:
    """What looks at the files of a run; None for a study that declares none.

    Looking raises SubmissionFailed when the directory has a placeholder without a value, and
    OSError.
    """
    if config is None:
        return None
    windows = config.windows
    files = PhaseFiles(config.success, config.failure, config.components, windows)

    def look() -> Look:
        values = {**row, **job}

        def value(found: re.Match[str]) -> str:
            given = values.get(found[1].lower())
            if given is None:
                why = f"{{{found[1]}}} in the directory of its sentinels has no value"
                raise SubmissionFailed(title, why, transient=False)
            return str(given)

        place = Path(run_dir, _PLACEHOLDER.sub(value, config.directory))
        return files.look(place)

    return look


def failure_in(look: Looker | None) -> str | None:
    """Why the files of a run say that it failed; None when they do not."""
    if look is None:
        return None
    try:
        found = look()
    except SubmissionFailed:  # declared in another way since it began
        return None
    if found.state != FAILED:
        return None
    signs = [sign for some in found.signs.values() for sign in some]
    return f"its files say so: {listed(signs[:5])}" + (
        f" and {len(signs) - 5} more" if len(signs) > 5 else ""
    )
