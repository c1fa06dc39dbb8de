"""A YAML file as plain data that remembers the line of every key.

The dialect is that of PyYAML's safe loader, except where YAML 1.1 surprises people who write
numbers: ``1e-3`` is a number, while ``10:00:00`` and ``2024-01-31`` are text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from motoko.config.values import shown
from motoko.errors import ConfigError, Mistake

KeyPath = tuple[Any, ...]

_MAX_VALUES = 1_000_000  # anchors can make a small file stand for any number of values
_MERGE = "tag:yaml.org,2002:merge"
_INT = re.compile(
    r"[-+]?(?:0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$",
)
_FLOAT = re.compile(
    r"""[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
             |\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
             |[0-9][0-9_]*[eE][-+]?[0-9]+
             |\.(?:inf|Inf|INF))$
       |\.(?:nan|NaN|NAN)$""",
    re.VERBOSE,
)


class _Loader(yaml.SafeLoader):
    """The safe loader with other ideas of what a number is."""


_REPLACED = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


def key_text(path: KeyPath) -> str:
    """A key path as people write it: ``job_space.x[2]``."""
    text = ""
    for part in path:
        if isinstance(part, int) and not isinstance(part, bool):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


@dataclass(frozen=True)
class Document:
    """What a file holds, where each key of it stands, and what is wrong with its keys."""

    file: str
    data: Mapping[Any, Any]
    lines: Mapping[KeyPath, int]
    mistakes: tuple[Mistake, ...]
    content: bytes

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest one around it; 0 for the file as a whole."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def mistake(
        self, path: KeyPath, found: str, allowed: str, line: int | None = None
    ) -> Mistake:
        """A mistake at a key of this file, which stands on its line unless another is given."""
        place = self.line(path) if line is None else line
        return Mistake(self.file, place, key_text(path), found, allowed)

    def section(self, key: str) -> Mapping[Any, Any]:
        """The mapping under a key; an empty one when there is something else."""
        value = self.data.get(key)
        return value if isinstance(value, Mapping) else {}


def read_document(file: Path, advice: str) -> Document:
    """Read a YAML file that holds a mapping; ``advice`` says what to do when it is missing.

    Raises ConfigError when there is nothing to go on with; mistakes that leave the data
    readable, like a key given twice, are in the document.
    """
    name = str(file)
    content = _read_bytes(file, name, advice)
    text = _decoded(content, name)
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(name, {}, {}, (), content)
        if not isinstance(node, yaml.MappingNode):
            found = "found a list" if isinstance(node, yaml.SequenceNode) else "found one value"
            raise _fatal(name, node.start_mark.line + 1, found, "expected a mapping of keys")
        survey = _Survey(name, loader)
        survey.measure(node)
        survey.walk(node, ())
        if survey.is_fatal:
            raise ConfigError(survey.mistakes)
        data = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _broken(name, text, error) from None
    except RecursionError:
        raise _fatal(name, 0, "nested too deeply", "expected a few levels of keys") from None
    finally:
        if loader is not None:
            loader.dispose()
    return Document(name, data, survey.lines, tuple(survey.mistakes), content)


def _read_bytes(file: Path, name: str, advice: str) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise _fatal(name, 0, "no such file", advice) from None
    except OSError as error:
        found = f"cannot be read: {error.strerror or error}"
        raise _fatal(name, 0, found, "expected a readable text file") from None


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise _fatal(name, line, found, "expected text saved as UTF-8") from None


def _fatal(name: str, line: int, found: str, allowed: str) -> ConfigError:
    return ConfigError([Mistake(name, line, "", found, allowed)])


def _broken(name: str, text: str, error: yaml.YAMLError) -> ConfigError:
    line, why = 0, str(error).splitlines()[0]
    if isinstance(error, yaml.MarkedYAMLError):
        why = error.problem or why
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
    allowed = "expected valid YAML"
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        allowed = "expected text without control characters"
    if "\\t" in why:
        allowed = "indent with blanks, not tabs"
    return _fatal(name, line, f"broken YAML: {why}", allowed)


class _Survey:
    """A walk over the nodes of a file, before they become data."""

    def __init__(self, file: str, loader: _Loader) -> None:
        self.file = file
        self.loader = loader
        self.lines: dict[KeyPath, int] = {}
        self.mistakes: list[Mistake] = []
        self.is_fatal = False
        self._seen: set[int] = set()
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def measure(self, node: yaml.Node) -> int:
        """How many values a node stands for, once its anchors are followed."""
        if id(node) in self._open:
            line = node.start_mark.line + 1
            raise _fatal(
                self.file, line, "an anchor contains itself", "expected a finite value"
            )
        if id(node) not in self._sizes:
            self._open.add(id(node))
            size = 1 + sum(self.measure(child) for child in _children(node))
            self._open.discard(id(node))
            if size > _MAX_VALUES:
                line = node.start_mark.line + 1
                allowed = f"expected {_MAX_VALUES} values at most"
                raise _fatal(self.file, line, "anchors multiply its content", allowed)
            self._sizes[id(node)] = size
        return self._sizes[id(node)]

    def walk(self, node: yaml.Node, path: KeyPath) -> None:
        """Note the lines below a node, the keys given twice, the scalars that are no value."""
        if id(node) in self._seen:
            return
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self._walk_mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for i, child in enumerate(node.value):
                self.lines[(*path, i)] = child.start_mark.line + 1
                self.walk(child, (*path, i))
        else:
            self._scalar(node, path)

    def _walk_mapping(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first: dict[Any, tuple[int, str]] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                self.walk(value_node, path)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._fail(line, path, "found a list or mapping as a key", "expected text")
                continue
            key = self._scalar(key_node, path)
            if not isinstance(key, Hashable):
                self._fail(line, path, f"found {shown(key)} as a key", "expected text")
                continue
            place = (*path, key)
            before = first.get(key)
            if before is None:
                first[key] = (line, key_node.value)
            elif before[1] != key_node.value:  # but one key to YAML: on and yes, 1 and true
                place = (*path, key_node.value)
                found = f"found {key_node.value} without quotes, which YAML reads as {_as(key)}"
                allowed = "put it in quotes, or name it otherwise"
                self.mistakes.append(Mistake(self.file, line, key_text(place), found, allowed))
            else:
                found = f"given twice, first on line {before[0]}"
                self.mistakes.append(
                    Mistake(self.file, line, key_text(place), found, "expected each key once")
                )
            self.lines[place] = line
            self.walk(value_node, place)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        try:
            return self.loader.construct_object(node)
        except yaml.constructor.ConstructorError as error:
            self._fail(line, path, str(error.problem), "expected plain values without tags")
        except (ValueError, OverflowError, LookupError) as error:
            self._fail(line, path, f"found {shown(node.value)}: {error}", "expected a value")
        return None

    def _fail(self, line: int, path: KeyPath, found: str, allowed: str) -> None:
        self.is_fatal = True
        self.mistakes.append(Mistake(self.file, line, key_text(path), found, allowed))


def _as(key: Hashable) -> str:
    """What a key that is no text is to YAML, in words."""
    if isinstance(key, bool):
        return f"the truth value {str(key).lower()}"
    return f"the number {key}" if isinstance(key, int | float) else shown(key)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
