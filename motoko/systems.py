"""Simulations on disk: where their files lie, and what is known about them.

A system is a frozen description. Changes give another one::

    system = SimSystem("lig1", "work/lig1", topology="complex.prmtop")
    system.path("equil", "md.nc")
    system.with_artifacts(coordinates="equil/last.rst7")
    system.with_meta(ligand="LIG", temperature=310)

`find_systems` finds systems on disk, `read_systems` reads a list of them from YAML. Both are
what pipelines run over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from motoko.config.values import shown
from motoko.errors import ConfigError, Mistake
from motoko.phrases import nearest

if TYPE_CHECKING:
    from motoko.config.document import Document, KeyPath

#: In the directory of a system: what is known about it.
SYSTEM_FILE = "system.yaml"


class FrozenMapping(Mapping[str, Any]):
    """A mapping that cannot be changed, nor can what lies in it: lists are tuples there."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        given = dict(items or {})
        self._items = {str(key): _frozen(value) for key, value in given.items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items))

    def __repr__(self) -> str:
        return repr(self._items)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenMapping(value)
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, set):
        return frozenset(value)
    return value


@dataclass(frozen=True)
class SystemMeta:
    """What is known about a system besides its files; anything without a field is in extras."""

    ligand: str | None = None
    residue_name: str | None = None
    run_label: str | None = None
    source: str | None = None
    extras: Mapping[str, Any] = field(default_factory=FrozenMapping)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extras", FrozenMapping(self.extras))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """From names and values; names without a field become extras."""
        return cls().merged(values)

    def merged(self, changes: Mapping[str, Any]) -> Self:
        """Another one with these values; everything else stays, other extras too."""
        known = {key: value for key, value in changes.items() if key in _META}
        extras = {key: value for key, value in changes.items() if key not in _META}
        extras = {**self.extras, **known.pop("extras", {}), **extras}
        return replace(self, **known, extras=extras)

    def get(self, name: str, default: Any = None) -> Any:
        """A value by name, whether it has a field or is an extra."""
        return getattr(self, name) if name in _META else self.extras.get(name, default)


@dataclass(frozen=True)
class SimSystem:
    """A simulation on disk: its name, its directory, its files, and what is known about it.

    Paths of files are relative to ``root`` or absolute; files without a field of their own are
    in ``artifacts``, by name.
    """

    name: str
    root: Path
    topology: Path | None = None
    coordinates: Path | None = None
    protein: Path | None = None
    ligands: tuple[Path, ...] = ()
    artifacts: Mapping[str, Path] = field(default_factory=FrozenMapping)
    meta: SystemMeta = field(default_factory=SystemMeta)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("root", Path(self.root))
        for name in _ONE_FILE:
            given = getattr(self, name)
            put(name, None if given is None else Path(given))
        ligands = self.ligands
        several = (ligands,) if isinstance(ligands, str | os.PathLike) else ligands
        put("ligands", tuple(Path(given) for given in several))
        put("artifacts", FrozenMapping({n: Path(p) for n, p in self.artifacts.items()}))
        if not isinstance(self.meta, SystemMeta):
            put("meta", SystemMeta.from_mapping(self.meta))

    def path(self, *parts: str | os.PathLike[str]) -> Path:
        """A path below the directory of the system; the directory itself without parts."""
        return self.root.joinpath(*parts)

    def with_artifacts(self, **changes: Any) -> Self:
        """Another system with these files; names without a field are kept in ``artifacts``."""
        for name in ("name", "root", "meta"):
            if name in changes:
                raise TypeError(f"{name!r} is no file of a system: use dataclasses.replace")
        known = {key: value for key, value in changes.items() if key in _FILES}
        others = {key: value for key, value in changes.items() if key not in _FILES}
        artifacts = {**self.artifacts, **known.pop("artifacts", {}), **others}
        return replace(self, **known, artifacts=artifacts)

    def with_meta(self, **changes: Any) -> Self:
        """Another system that knows this too; names without a field are kept as extras."""
        return replace(self, meta=self.meta.merged(changes))


_META = frozenset(f.name for f in fields(SystemMeta))
_ONE_FILE = ("topology", "coordinates", "protein")
_FILES = frozenset({*_ONE_FILE, "ligands", "artifacts"})
_KEYS = ("root", *_ONE_FILE, "ligands", "artifacts", "meta")


def find_systems(
    directory: str | os.PathLike[str], pattern: str = "*"
) -> tuple[SimSystem, ...]:
    """The systems on disk: every directory that the pattern matches, sorted by name.

    A name is the path from ``directory`` on. What a directory's ``system.yaml`` says of files
    (``topology``, ``coordinates``, ...) and ``meta`` is taken over. Names that begin with a dot
    are left out, and so are links to a directory that is there by another name. Raises
    ConfigError with all mistakes in these files, and NotADirectoryError.
    """
    top = Path(directory)
    if not top.is_dir():
        raise NotADirectoryError(20, "is no directory", str(top))
    found: list[SimSystem] = []
    mistakes: list[Mistake] = []
    for path in sorted(_each_once(top, _directories(top, pattern))):
        try:
            found.append(_described(str(path.relative_to(top)), path))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return tuple(found)


def _directories(top: Path, pattern: str) -> Iterator[Path]:
    for path in sorted(top.glob(pattern)):
        parts = path.relative_to(top).parts
        if path.is_dir() and not any(part.startswith(".") for part in parts):
            yield path


def _each_once(top: Path, paths: Iterable[Path]) -> Iterable[Path]:
    """Of the names of one directory the one without links, if it is among them, else the
    first."""
    by_directory: dict[Path, Path] = {}
    for path in paths:
        real = path.resolve()
        if real not in by_directory or real == top.resolve() / path.relative_to(top):
            by_directory[real] = path
    return by_directory.values()


def read_systems(file: str | os.PathLike[str]) -> tuple[SimSystem, ...]:
    """The systems that a YAML file lists, in its order.

    Under ``systems`` each name has ``root`` (that name if there is none, relative to the file),
    files and ``meta``. Raises ConfigError with all mistakes.
    """
    from motoko.config.document import read_document

    path = Path(file)
    document = read_document(path, "expected a list of systems")
    mistakes = [*document.mistakes]
    for key in document.data:
        if key != "systems":
            expected = f"expected systems{nearest(str(key), ['systems'])}"
            mistakes.append(document.mistake((key,), "unknown key", expected))
    listed = document.data.get("systems")
    if not isinstance(listed, Mapping):
        mistakes.append(document.mistake(("systems",), f"found {shown(listed)}", _EXPECTED))
        listed = {}
    entries = {name: {} if entry is None else entry for name, entry in listed.items()}
    for name, entry in entries.items():
        mistakes += _mistakes(document, entry, ("systems", name), _KEYS)
    if mistakes:
        raise ConfigError(mistakes)
    return tuple(
        _made(str(name), path.parent / entry.get("root", str(name)), entry)
        for name, entry in entries.items()
    )


_EXPECTED = "expected names of systems, each with its root, files and meta, or nothing"


def _described(name: str, root: Path) -> SimSystem:
    file = root / SYSTEM_FILE
    if not file.exists():
        return SimSystem(name, root)
    from motoko.config.document import read_document

    document = read_document(file, "expected the description of a system")
    keys = tuple(key for key in _KEYS if key != "root")
    mistakes = [*document.mistakes, *_mistakes(document, document.data, (), keys)]
    if mistakes:
        raise ConfigError(mistakes)
    return _made(name, root, document.data)


def _made(name: str, root: Path, entry: Mapping[str, Any]) -> SimSystem:
    given = {key: value for key, value in entry.items() if key != "root" and value is not None}
    return SimSystem(name, root, **given)


def _mistakes(
    document: Document, entry: Any, place: KeyPath, keys: tuple[str, ...]
) -> Iterator[Mistake]:
    if not isinstance(entry, Mapping):
        yield document.mistake(place, f"found {shown(entry)}", "expected files and meta")
        return
    for key, value in entry.items():
        at = (*place, key)
        if key not in keys:
            expected = f"expected one of {', '.join(keys)}{nearest(str(key), keys)}"
            yield document.mistake(at, "unknown key", expected)
        elif value is not None and not _is_fit(key, value):
            yield document.mistake(at, f"found {shown(value)}", f"expected {_WORDS[key]}")


def _is_fit(key: str, value: Any) -> bool:
    if key == "ligands":
        several = [value] if isinstance(value, str) else value
        return isinstance(several, list) and all(isinstance(item, str) for item in several)
    if key == "artifacts":
        return isinstance(value, Mapping) and all(isinstance(v, str) for v in value.values())
    return isinstance(value, Mapping if key == "meta" else str)


_WORDS = {
    **dict.fromkeys(("root", *_ONE_FILE), "a path"),
    "ligands": "a path, or a list of paths",
    "artifacts": "names with a path each",
    "meta": "names and values",
}
