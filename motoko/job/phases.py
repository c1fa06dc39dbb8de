"""Which files say that a phase of some work is finished, or has failed.

A phase has components, and these have windows; where it has neither, the phase is one unit by
itself. For each unit there are groups of patterns: the unit is finished when all patterns of
any one group are there, and it has failed likewise. Nothing there says nothing.
"""

from __future__ import annotations

import glob
import os
import re
from collections import namedtuple
from contextlib import suppress

from motoko.job.layout import FAILED, FINISHED
from motoko.job.windows import UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Tuple, Union

    from motoko.job.layout import StrPath

    Unit = Tuple[str, str]
    Groups = Sequence[Sequence[str]]
    Windows = Union[Sequence[str], Dict[str, Tuple[str, ...]]]

_PLACEHOLDER = re.compile(r"\{(component|window)\}")


class Look(namedtuple("Look", ["state", "units", "signs"])):
    """What the files of a phase say: FINISHED when all units are, FAILED when any is, else
    UNKNOWN; the same of each unit, a pair of component and window; and for each unit that
    failed the files that say so."""

    __slots__ = ()
    state: str
    units: Dict[Unit, str]
    signs: Dict[Unit, List[str]]


class PhaseFiles:
    """The files of a phase, relative to its directory: globs with ``{component}`` and
    ``{window}``. Without groups, the sentinels of the units' own directories decide."""

    def __init__(
        self,
        success: Groups = (),
        failure: Groups = (),
        components: Sequence[str] = (),
        windows: Windows = (),
    ) -> None:
        """``windows`` are those of every component, or a mapping that has them for each."""
        parts = [
            name for name, given in (("component", components), ("window", windows)) if given
        ]
        where = "".join(f"{{{name}}}/" for name in parts)
        self._success = success or ((f"{where}{FINISHED}",),)
        self._failure = failure or ((f"{where}{FAILED}",),)
        self.units: List[Unit] = [
            (component, window)
            for component in components or ("",)
            for window in (windows[component] if isinstance(windows, dict) else windows)
            or ("",)
        ]

    def look(self, root: StrPath) -> Look:
        """What is there now, in the directory of the phase."""
        states, signs = {}, {}
        for unit in self.units:
            states[unit] = UNKNOWN
            if _first(root, self._success, unit):
                states[unit] = FINISHED
            elif found := _first(root, self._failure, unit):
                states[unit], signs[unit] = FAILED, found
        said = set(states.values())
        state = FAILED if FAILED in said else FINISHED if said == {FINISHED} else UNKNOWN
        return Look(state, states, signs)

    def forget_failures(self, root: StrPath) -> None:
        """Remove the sentinels of failures, before the work is begun again."""
        for signs in self.look(root).signs.values():
            for sign in signs:
                if os.path.basename(sign) == FAILED:
                    with suppress(FileNotFoundError):
                        os.unlink(os.path.join(root, sign))


def _first(root: StrPath, groups: Groups, unit: Unit) -> Optional[List[str]]:
    """The files of the first group that is there as a whole."""
    values = dict(zip(("component", "window"), unit))
    for group in groups:
        found = []
        for pattern in group:
            meant = _PLACEHOLDER.sub(lambda m: glob.escape(values[m[1]]), pattern)
            paths = glob.glob(os.path.join(glob.escape(os.fspath(root)), meant))
            if not paths:
                break
            found += [os.path.relpath(path, root) for path in sorted(paths)]
        else:
            return found
    return None
