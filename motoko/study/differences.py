"""What tasks that are found, rather than made, have other than the call that finds them says.

They are taken as they are. Users hear of it, once for each difference, since a call that says
something else may mean another task.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from motoko.columns import BUILT_IN, FIXED
from motoko.config.fields import OPTIONS_SUFFIX, RUN_LIMITS
from motoko.store.codec import is_same
from motoko.store.tables import Tables
from motoko.study import files
from motoko.study.system_dirs import SENTINELS, SYSTEM_DIR

if TYPE_CHECKING:
    from motoko.study.study import Study

log = logging.getLogger(__name__)

#: So many runs of a call are compared.
_MOST_COMPARED: Final = 1000
#: Entries that say how a run is executed, and nothing of what it computes.
_HOW: Final = BUILT_IN | FIXED | RUN_LIMITS.keys() | {SENTINELS, SYSTEM_DIR}


class Differences:
    """Tells of the differences of one study's runs."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._told: set[tuple[str | None, str]] = set()

    def tell_of_files(self, run_ids: Sequence[int], manifest: Mapping[str, Any]) -> None:
        """Say which runs were made with other files than the present."""
        for run_id in run_ids[:_MOST_COMPARED]:
            key = self._study.run_row(run_id).get("files")
            if key == manifest["key"] or (key, manifest["key"]) in self._told:
                continue
            self._told.add((key, manifest["key"]))
            before = self._study.ask(partial(Tables.manifest, key=key))
            names = ", ".join(files.differing(before, manifest))
            if before is not None and not names:
                continue  # only the code around them
            log.warning(
                "%s.%d was made with another content of %s; it is taken as it is"
                " (say replica: 2 in its run parameters for a new one)",
                self._study.name,
                run_id,
                names or "its files",
            )

    def tell_of_entries(self, run_ids: Sequence[int], given: Mapping[str, Any]) -> None:
        """Say for which undeclared entries runs have another value than this."""
        for name in sorted(given.keys() - _HOW):
            if name.endswith(OPTIONS_SUFFIX) or (None, name) in self._told:
                continue
            for run_id in run_ids[:_MOST_COMPARED]:
                there = self._study.run_row(run_id).get(name)
                if not is_same(there, given[name]):
                    self._told.add((None, name))
                    log.warning(
                        "%s.%d is taken as it is: it has %s %s, where %s is asked for;"
                        " declare %s under `run:` in bd.yaml if it tells tasks apart",
                        self._study.name,
                        run_id,
                        name,
                        reprlib.repr(there),
                        reprlib.repr(given[name]),
                        name,
                    )
                    break
