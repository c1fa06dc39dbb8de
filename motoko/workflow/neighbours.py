"""What lies beside an orchestrator, to be imported: each workflow of a process has its own.

The modules of the first are imported as any others are, from its directory on ``sys.path``.
Where a name is taken, by a further workflow or by a script, an ``import`` in the files of a
workflow finds the module that it would find if the workflow were alone, under a name of its
own: each module is there once for its workflow, also for threads and for pickles.
"""

from __future__ import annotations

import builtins
import importlib
import os
import re
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import wraps
from hashlib import blake2b
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_OWN_NAME: Final = re.compile(r"_motoko_([0-9a-f]{12})_(\w+)")
_INSTALLED: Final = tuple(
    f"{sysconfig.get_path(kind)}{os.sep}" for kind in ("stdlib", "platstdlib", "purelib")
)
_PACKAGES: Final = frozenset({"site-packages", "dist-packages"})
_OURS: Final = __name__.partition(".")[0]


def own_name(place: Path, name: str) -> str:
    """Under which name a module is imported that has to do with this file or directory."""
    mark = blake2b(os.fsencode(place), digest_size=6).hexdigest()
    return f"_motoko_{mark}_{name}"


def let_import(directory: Path) -> None:
    """Have the files in the directory of a workflow import what lies beside them."""
    _known.add(directory)


class Neighbours:
    """The modules beside one orchestrator."""

    def __init__(self, directory: Path, known: Known) -> None:
        self.directory = directory
        self._known = known
        #: By the names that the files write: those under which the modules are imported.
        self._names: dict[str, str] = {}

    def name_of(self, name: str) -> str:
        """Under which name the module or package is imported that its files call so."""
        return self._names.get(name) or self._find(name)

    def find(self, name: str) -> ModuleSpec | None:
        """What the files would import if the workflow were alone."""
        path = [p for p in sys.path if self._known.owner(p) in (None, self)]
        return PathFinder.find_spec(name, path)

    def is_any_taken(self) -> bool:
        """Whether a module has been imported already under the name of one beside it."""
        try:
            names = {file.partition(".")[0] for file in os.listdir(self.directory)}
        except OSError:  # its files are found by their names all the same
            return False
        return any(self.name_of(name) != name for name in names & sys.modules.keys())

    def _find(self, name: str) -> str:
        present = sys.modules.get(name)
        if name in sys.builtin_module_names or _is_installed(present):
            return name
        own = self.find(name)
        if own is None or self._place(own)[0] is not self:
            return name
        if present is None:
            other = PathFinder.find_spec(name)
            is_own = other is None or self._place(other) == self._place(own)
        else:
            owner, _ = self._place(present.__spec__)
            # A directory is no package for whoever has a module of its name.
            is_own = owner is self or (owner is None and not own.has_location)
        self._names[name] = name if is_own else own_name(self.directory, name)
        return self._names[name]

    def _place(self, spec: ModuleSpec | None) -> tuple[Neighbours | None, str]:
        return self._known.place(_where(spec))


class Known(MetaPathFinder):
    """The workflows of a process, by their directories, and what finds their modules.

    There is one, as there is one ``sys.modules``.
    """

    def __init__(self) -> None:
        self._workflows: dict[str, Neighbours] = {}
        self._places: dict[str, tuple[Neighbours | None, str]] = {}
        self._is_asked = False

    def add(self, directory: Path) -> None:
        """Take in the workflow of this directory."""
        text, real = str(directory), os.path.realpath(directory)
        if text not in sys.path:
            # Who imports by name gets what the first has, as he did before.
            before = [i for i, place in enumerate(sys.path) if place in self._workflows]
            sys.path.insert(before[-1] + 1 if before else 0, text)
        if text not in self._workflows:
            found = self._workflows.get(real) or Neighbours(directory, self)
            self._workflows |= {text: found, real: found}
            self._places.clear()
        if not self._is_asked and (self._n > 1 or self._workflows[text].is_any_taken()):
            self._is_asked = True
            sys.meta_path.insert(0, self)
            builtins.__import__ = _asking(self, builtins.__import__)
            importlib.import_module = _asking_by_name(self, importlib.import_module)

    @property
    def _n(self) -> int:
        return len(set(self._workflows.values()))

    def owner(self, place: str) -> Neighbours | None:
        """Whose directory a file or directory lies in; nobody's if it is installed there."""
        return self.place(place)[0]

    def place(self, place: str | None) -> tuple[Neighbours | None, str]:
        """The same, and where in it."""
        if place is None:
            return None, ""
        key = place if place.startswith(os.sep) else str(Path(place).absolute())
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = self._look(Path(os.path.normpath(key)))
        return found

    def _look(self, place: Path) -> tuple[Neighbours | None, str]:
        if _is_in_packages(place):
            return None, str(place)
        real = Path(os.path.realpath(place.parent), place.name)
        for one in (place, real):
            for above in (one, *one.parents):
                if (found := self._workflows.get(str(above))) is not None:
                    return found, str(one.relative_to(above))
        return None, str(real)

    def name_in(self, given: Mapping[str, object], name: str) -> str:
        """Under which name a module is imported that a file, by its globals, calls so."""
        file = given.get("__file__")
        workflow = self.owner(file) if isinstance(file, str) else None
        first, dot, rest = name.partition(".")
        return f"{workflow.name_of(first)}{dot}{rest}" if workflow and first else name

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Where the module of a workflow is that is imported under a name of its own."""
        named = _OWN_NAME.fullmatch(fullname)
        if named is None:
            return None
        for workflow in self._workflows.values():
            if own_name(workflow.directory, named[2]) == fullname:
                return self._renamed(workflow, fullname, named[2])
        return None

    def _renamed(self, workflow: Neighbours, fullname: str, name: str) -> ModuleSpec | None:
        spec = workflow.find(name)
        if spec is None:
            return None
        if spec.has_location:
            places = spec.submodule_search_locations
            return spec_from_file_location(
                fullname, spec.origin, submodule_search_locations=places
            )
        found = ModuleSpec(fullname, None, is_package=True)
        portions = spec.submodule_search_locations or ()
        found.submodule_search_locations = [p for p in portions if self.owner(p) is workflow]
        return found


def _asking(known: Known, before: Any) -> Any:
    """What an ``import`` does: ask whose files it stands in first."""

    def import_beside(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        if not level and globals is not None:
            name = known.name_in(globals, name)
        return before(name, globals, locals, fromlist, level)

    return import_beside


def _asking_by_name(known: Known, before: Any) -> Any:
    """What ``importlib.import_module`` does."""

    @wraps(before)
    def import_module(name: str, package: str | None = None) -> ModuleType:
        given = sys._getframe(1).f_globals
        if package is not None:
            package = known.name_in(given, package)
        found: ModuleType = before(known.name_in(given, name), package)
        return found

    return import_module


def _where(spec: ModuleSpec | None) -> str | None:
    """Its file, or of a directory without one the first place that is looked at."""
    if spec is None:
        return None
    if spec.has_location:
        return spec.origin
    return next(iter(spec.submodule_search_locations or ()), None)


def _is_installed(module: ModuleType | None) -> bool:
    """Whether it is one that has nothing to do with workflows, or was put there by hand."""
    if module is None:
        return False
    spec = getattr(module, "__spec__", None)
    place = _where(spec)
    return place is None or module.__name__ == _OURS or _is_in_packages(Path(place))


def _is_in_packages(place: Path) -> bool:
    return str(place).startswith(_INSTALLED) or not _PACKAGES.isdisjoint(place.parts)


_known = Known()
