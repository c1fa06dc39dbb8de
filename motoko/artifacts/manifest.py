"""The manifest of an artifact store: versioned JSON, whole at every moment.

``{"format": 1, "artifacts": [{"name", "path", "kind", "sha256", "size", "metadata", "run"}]}``,
sorted by name. ``path`` is relative to the root, ``run`` the run that left it or null. One that
does not count any more has ``stale`` besides: why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from motoko.crashpoints import reached
from motoko.durable import replace_file
from motoko.errors import ManifestUnreadable, PathOutside

FORMAT = 1
MANIFEST = "manifest.json"
#: Below each root: what is being copied or removed; where the manifest is, its lock too.
OFFICE = ".artifacts"
RESERVED = frozenset({MANIFEST, f".{MANIFEST}.new", OFFICE})
KINDS = ("file", "dir")
_TEXTS = ("name", "path", "kind", "sha256")


@dataclass(frozen=True)
class Artifact:
    """What is stored under one name. ``path`` is relative to the root of the store.

    ``stale`` says why it is not what its run has any more; None as long as it is.
    """

    name: str
    path: str
    kind: str
    sha256: str
    size: int
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    run: str | None = None
    stale: str | None = None


def inner_path(given: str | os.PathLike[str]) -> str:
    """A path as manifests have it; PathOutside when it would leave the root, or is ours."""
    text = os.fspath(given)
    path = PurePosixPath(text)
    if not path.parts or "\0" in text:
        raise PathOutside(repr(text), "is no path of a file")
    if path.is_absolute() or ".." in path.parts:
        why = "would lie outside of the store; give a path relative to its root, without .."
        raise PathOutside(text, why)
    if path.parts[0] in RESERVED:
        raise PathOutside(text, "is a name that the store needs for itself")
    return str(path)


def to_json(artifact: Artifact) -> dict[str, Any]:
    """An artifact as it stands in a manifest."""
    facts = {**vars(artifact), "metadata": dict(artifact.metadata)}
    if artifact.stale is None:
        del facts["stale"]
    return facts


def from_json(facts: Any) -> Artifact:
    """An artifact from what stands in a manifest. ValueError says what is wrong with it."""
    if not isinstance(facts, Mapping):
        raise ValueError("an artifact is no mapping")
    wrong = [name for name in _TEXTS if not isinstance(facts.get(name), str)]
    if not isinstance(facts.get("size"), int):
        wrong.append("size")
    if facts.get("kind") not in KINDS:
        wrong.append("kind")
    run, stale, metadata = facts.get("run"), facts.get("stale"), facts.get("metadata", {})
    if not isinstance(run, str | None):
        wrong.append("run")
    if not isinstance(stale, str | None):
        wrong.append("stale")
    if not isinstance(metadata, Mapping):
        wrong.append("metadata")
    if wrong:
        name = facts.get("name")
        raise ValueError(f"artifact {name!r}: {', '.join(wrong)} missing or of a wrong type")
    texts = {name: facts[name] for name in _TEXTS}
    inner_path(texts["path"])
    size, plain = facts["size"], dict(metadata)
    return Artifact(**texts, size=size, metadata=plain, run=run, stale=stale)


def encoded(artifacts: Iterable[Artifact]) -> bytes:
    """The document for these artifacts, a line each."""
    return _document(Contents().changed(put=artifacts))


def is_same(artifact: Artifact | None, other: Artifact) -> bool:
    """Whether these are the same, whether they count or not."""
    return artifact is not None and replace(artifact, stale=other.stale) == other


def copied(artifact: Artifact) -> Artifact:
    """The same, whose metadata are the reader's own."""
    return replace(artifact, metadata=_plain(artifact.metadata))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _line(artifact: Artifact) -> bytes:
    return f"  {json.dumps(to_json(artifact), allow_nan=False)}".encode()


_HEAD = f'{{\n "format": {FORMAT},\n "artifacts": [\n'.encode()
_TAIL = b"\n ]\n}\n"
_BETWEEN = b",\n"


class Contents:
    """What a manifest holds at one moment, with the line of each artifact, which is parsed and
    written once, however often others change."""

    def __init__(
        self,
        artifacts: Mapping[str, Artifact] | None = None,
        lines: Mapping[str, bytes] | None = None,
    ) -> None:
        self.artifacts = artifacts or {}
        self.lines = lines or {}
        self._paths: dict[str, str] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self.artifacts

    def changed(self, *, put: Iterable[Artifact] = (), removed: Iterable[str] = ()) -> Contents:
        """What it becomes."""
        artifacts, lines = {**self.artifacts}, {**self.lines}
        paths = {**self._by_path()}
        for name in removed:
            del lines[name]
            paths.pop(artifacts.pop(name).path, None)
        for artifact in put:
            if artifact.name in artifacts:
                paths.pop(artifacts[artifact.name].path, None)
            artifacts[artifact.name] = artifact
            lines[artifact.name] = _line(artifact)
            paths[artifact.path] = artifact.name
        made = Contents(artifacts, lines)
        made._paths = paths
        return made

    def at(self, path: str) -> str | None:
        """The name of the artifact that lies there, or in which that would lie."""
        found = self._by_path()
        places = (str(place) for place in (PurePosixPath(path), *PurePosixPath(path).parents))
        return next((found[place] for place in places if place in found), None)

    def _by_path(self) -> dict[str, str]:
        if self._paths is None:
            self._paths = {a.path: name for name, a in self.artifacts.items()}
        return self._paths


def _document(contents: Contents) -> bytes:
    if not contents.lines:
        return _HEAD[:-1] + b"]\n}\n"
    lines = map(contents.lines.__getitem__, sorted(contents.lines))
    return b"".join((_HEAD, _BETWEEN.join(lines), _TAIL))


class Manifest:
    """The file; says what it holds now."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: tuple[bytes, Contents] = (b"", Contents())

    def read(self) -> Contents:
        """What it holds; nothing where there is no file. ManifestUnreadable."""
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            return Contents()
        known, contents = self._known
        if content != known:
            contents = _by_lines(content, contents) or self._parsed(content)
            self._known = (content, contents)
        return contents

    def write(self, contents: Contents) -> None:
        """Put this in its place in one step; only for who holds the lock of the store."""
        content = _document(contents)
        replace_file(self.file, [content], between=lambda: reached("artifacts.manifest"))
        self._known = (content, contents)

    def _parsed(self, content: bytes) -> Contents:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ManifestUnreadable(str(self.file), f"is no JSON: {error}") from None
        if not isinstance(document, Mapping) or not isinstance(document.get("artifacts"), list):
            raise ManifestUnreadable(str(self.file), "is no manifest of an artifact store")
        if document.get("format") != FORMAT:
            why = f"has format {document.get('format')!r}, this Motoko reads format {FORMAT}"
            raise ManifestUnreadable(str(self.file), why)
        try:
            found = [from_json(facts) for facts in document["artifacts"]]
            return _distinct((artifact, _line(artifact)) for artifact in found)
        except ValueError as error:
            raise ManifestUnreadable(str(self.file), str(error)) from None


def _by_lines(content: bytes, known: Contents) -> Contents | None:
    """What a manifest as we write it holds; of its lines those are parsed that are not known.
    None for any other, whatever is wrong with it."""
    if not content.startswith(_HEAD) or not content.endswith(_TAIL):
        return None
    by_line = {line: known.artifacts[name] for name, line in known.lines.items()}
    try:
        lines = content[len(_HEAD) : -len(_TAIL)].split(_BETWEEN)
        return _distinct(
            (by_line.get(line) or from_json(json.loads(line)), line) for line in lines
        )
    except (ValueError, RecursionError):
        return None


def _distinct(found: Iterable[tuple[Artifact, bytes]]) -> Contents:
    """These artifacts, with their lines. ValueError for two of one name."""
    artifacts: dict[str, Artifact] = {}
    lines: dict[str, bytes] = {}
    for artifact, line in found:
        if artifact.name in artifacts:
            raise ValueError(f"two artifacts have the name {artifact.name!r}")
        artifacts[artifact.name], lines[artifact.name] = artifact, line
    return Contents(artifacts, lines)
