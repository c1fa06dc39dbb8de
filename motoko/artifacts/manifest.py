"""The manifest of an artifact store: versioned JSON, whole at every moment.

``{"format": 1, "artifacts": [{"name", "path", "kind", "sha256", "size", "metadata", "run"}]}``,
sorted by name. ``path`` is relative to the root, ``run`` the run that left it or null.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    """What is stored under one name. ``path`` is relative to the root of the store."""

    name: str
    path: str
    kind: str
    sha256: str
    size: int
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    run: str | None = None


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
    return {**vars(artifact), "metadata": dict(artifact.metadata)}


def from_json(facts: Any) -> Artifact:
    """An artifact from what stands in a manifest. ValueError says what is wrong with it."""
    if not isinstance(facts, Mapping):
        raise ValueError("an artifact is no mapping")
    wrong = [name for name in _TEXTS if not isinstance(facts.get(name), str)]
    if not isinstance(facts.get("size"), int):
        wrong.append("size")
    if facts.get("kind") not in KINDS:
        wrong.append("kind")
    run, metadata = facts.get("run"), facts.get("metadata", {})
    if not isinstance(run, str | None):
        wrong.append("run")
    if not isinstance(metadata, Mapping):
        wrong.append("metadata")
    if wrong:
        name = facts.get("name")
        raise ValueError(f"artifact {name!r}: {', '.join(wrong)} missing or of a wrong type")
    texts = {name: facts[name] for name in _TEXTS}
    inner_path(texts["path"])
    return Artifact(**texts, size=facts["size"], metadata=dict(metadata), run=run)


def encoded(artifacts: Iterable[Artifact]) -> bytes:
    """The document for these artifacts, a line each."""
    ordered = sorted(artifacts, key=lambda artifact: artifact.name)
    lines = ",\n".join(f"  {json.dumps(to_json(a), allow_nan=False)}" for a in ordered)
    body = f"[\n{lines}\n ]" if ordered else "[]"
    return f'{{\n "format": {FORMAT},\n "artifacts": {body}\n}}\n'.encode()


class Manifest:
    """The file; says what it holds now."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: tuple[bytes, Mapping[str, Artifact]] = (b"", {})

    def read(self) -> Mapping[str, Artifact]:
        """All artifacts by name; none where there is no file. ManifestUnreadable."""
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            return {}
        known, artifacts = self._known
        if content != known:
            artifacts = self._parsed(content)
            self._known = (content, artifacts)
        return artifacts

    def write(self, artifacts: Mapping[str, Artifact]) -> None:
        """Put this in its place in one step; only for who holds the lock of the store."""
        content = encoded(artifacts.values())
        replace_file(self.file, [content], between=lambda: reached("artifacts.manifest"))

    def _parsed(self, content: bytes) -> dict[str, Artifact]:
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
            artifacts = [from_json(facts) for facts in document["artifacts"]]
        except ValueError as error:
            raise ManifestUnreadable(str(self.file), str(error)) from None
        return {artifact.name: artifact for artifact in artifacts}
