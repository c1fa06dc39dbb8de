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

from motoko.job.layout import FAILED, FINISHED, JOB_ATTEMPT, PROGRESS
from motoko.job.windows import UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

    from motoko.job.layout import StrPath

    Unit = Tuple[str, str]
    Groups = Sequence[Sequence[str]]
    #: Files by their paths, and how each was when it was looked at: time and size.
    Seen = Mapping[str, Sequence[int]]
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

    def look(
        self, root: StrPath, before: Optional[Seen] = None, others: Optional[Seen] = None
    ) -> Look:
        """What is there now, in the directory of the phase.

        Signs of failures that are still as they were `seen` before the work was begun say
        nothing of it; nor do groups of `successes` with a file that is as it was when it was
        among the ``others``, made for something else.
        """
        states, signs = {}, {}
        for unit in self.units:
            states[unit] = UNKNOWN
            if self._is_finished(root, unit, others):
                states[unit] = FINISHED
            elif found := _first(root, self._failure, unit, before):
                states[unit], signs[unit] = FAILED, found
        said = set(states.values())
        state = FAILED if FAILED in said else FINISHED if said == {FINISHED} else UNKNOWN
        return Look(state, states, signs)

    def _is_finished(self, root: StrPath, unit: Unit, others: Optional[Seen]) -> bool:
        groups = (_matching(root, group, unit) or () for group in self._success)
        return any(
            found and not (others and any(_is_as_before(root, path, others) for path in found))
            for found in groups
        )

    def successes(self, root: StrPath, unit: Unit) -> Dict[str, List[int]]:
        """The files of a unit of which its success would tell, and how they are now."""
        found = {}
        for pattern in {pattern for group in self._success for pattern in group}:
            for path in _matching(root, [pattern], unit) or ():
                with suppress(OSError):
                    found[path] = _how(root, path)
        return found

    def forget_work(self, root: StrPath, unit: Unit) -> None:
        """Remove sentinels and records of progress from the directories of a unit that are its
        own, since its work is done for something else."""
        above = {os.path.dirname(pattern) for group in self._success for pattern in group}
        for pattern in above:
            if len(self.units) > 1 and not _PLACEHOLDER.search(pattern):
                continue
            for directory in _matching(root, [pattern or "."], unit) or ():
                for name in (FINISHED, FAILED, JOB_ATTEMPT, PROGRESS):
                    with suppress(FileNotFoundError, NotADirectoryError):
                        os.unlink(os.path.join(root, directory, name))

    def seen(self, root: StrPath) -> Dict[str, List[int]]:
        """The files that say now that a unit has failed, and how they are."""
        found = {}
        for unit in self.units:
            for group in () if _first(root, self._success, unit) else self._failure:
                for path in _matching(root, group, unit) or ():
                    with suppress(OSError):
                        found[path] = _how(root, path)
        return found

    def forget_failures(self, root: StrPath) -> None:
        """Remove the sentinels of failures, before the work is begun again."""
        for sign in self.seen(root):
            if os.path.basename(sign) == FAILED:
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(root, sign))


def _first(
    root: StrPath, groups: Groups, unit: Unit, before: Optional[Seen] = None
) -> Optional[List[str]]:
    """The files of the first group that is there as a whole, and not as it was before."""
    for group in groups:
        found = _matching(root, group, unit)
        if found and not (before and all(_is_as_before(root, path, before) for path in found)):
            return found
    return None


def _matching(root: StrPath, group: Sequence[str], unit: Unit) -> Optional[List[str]]:
    """The files of a group; None unless all of it is there."""
    values = dict(zip(("component", "window"), unit))
    found = []
    for pattern in group:
        meant = _PLACEHOLDER.sub(lambda m: glob.escape(values[m[1]]), pattern)
        paths = glob.glob(os.path.join(glob.escape(os.fspath(root)), meant))
        if not paths:
            return None
        found += [os.path.relpath(path, root) for path in sorted(paths)]
    return found


def _is_as_before(root: StrPath, path: str, before: Seen) -> bool:
    try:
        return path in before and list(before[path]) == _how(root, path)
    except OSError:
        return False


def _how(root: StrPath, path: str) -> List[int]:
    status = os.stat(os.path.join(root, path))
    return [status.st_mtime_ns, status.st_size]
