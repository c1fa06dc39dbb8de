"""The pages of the documentation and the code blocks in them.

What becomes of a fenced block is decided by the line before it and by its info string:

- Behind a line that is nothing but a file's name in backquotes and a colon, the block is the
  content of that file, whatever its language.
- ``python`` blocks are executed in order, all in one namespace and one process. One that shows
  a session (``>>>``) is a doctest.
- ``bash`` blocks are scripts that must end with exit code 0.
- ``console`` blocks hold commands behind ``$ ``, going on in lines that begin with ``> ``. Each
  must end with exit code 0. What stands below a command is compared with what it prints; a
  line ``...`` stands for any number of lines, and ``...`` inside a line for anything. Below a
  command whose output does not matter stands nothing.
- ``yaml`` blocks without a file name are parsed; their keys must be known ones.
- ``json`` blocks without a file name are parsed.
- ``text`` blocks are for reading only. Any other language is refused.

Each page has a directory of its own to work in, empty at first. A comment
``<!-- starts in a copy of examples/quickstart -->`` fills it; the page of an example starts in
a copy of that. ``cd`` and ``export`` last until the page ends. A comment ``<!-- slow -->``
takes the page out of `make test`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = ("python", "bash", "console", "yaml", "json", "text")

_FENCE = re.compile(r"^```(.*)$")
_FILE = re.compile(r"^`([^`\s]+)`:$")
_START = re.compile(r"^<!-- starts in a copy of (\S+) -->$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} (.+)$")
_LINK = re.compile(r"!?\[(?:[^\]]|\](?!\())*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, what it is, and the file that it is if it is one."""

    page: str
    line: int
    language: str
    text: str
    file: str | None = None

    @property
    def place(self) -> str:
        """Page and line, as an editor opens them."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """A page of the documentation."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """The path as seen from the project's directory."""
        return str(self.path.relative_to(ROOT))

    @property
    def is_slow(self) -> bool:
        """Whether executing it takes long."""
        return "<!-- slow -->" in self.text

    @property
    def start(self) -> Path | None:
        """The directory that it starts in a copy of."""
        if self.path.parent.parent == ROOT / "examples":
            return self.path.parent
        found = _START.search(self.text)
        return ROOT / found.group(1) if found else None

    @property
    def blocks(self) -> list[Block]:
        """Its fenced blocks, in order."""
        return list(_blocks(self.name, self.text))

    @property
    def is_executable(self) -> bool:
        """Whether any block of it does something."""
        return any(b.file or b.language != "text" for b in self.blocks)

    @property
    def links(self) -> list[str]:
        """Where its links and pictures lead."""
        return _LINK.findall(_without_code(self.text))

    @property
    def anchors(self) -> set[str]:
        """The places in it that a link can lead to, one for each heading."""
        found: set[str] = set()
        for line in _without_code(self.text).splitlines():
            heading = _HEADING.match(line)
            if heading:
                found.add(_anchor(heading.group(1), found))
        return found


def pages() -> list[Page]:
    """README, what changed, everything in docs, and what the examples say of themselves."""
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    files += sorted((ROOT / "docs").rglob("*.md"))
    files += sorted((ROOT / "examples").glob("*/README.md"))
    return [Page(file, file.read_text()) for file in files]


def _blocks(name: str, text: str) -> list[Block]:
    found = []
    begin, language, before, last = 0, "", "", ""
    content: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if begin and line == "```":
            file = _FILE.match(before)
            body = "".join(f"{one}\n" for one in content)
            found.append(Block(name, begin, language, body, file.group(1) if file else None))
            begin, last = 0, ""
        elif begin:
            content.append(line)
        elif fence:
            begin, language, before, content = number, fence.group(1).strip(), last, []
        elif line.strip():
            last = line
    if begin:
        raise ValueError(f"{name}:{begin}: the block has no end")
    return found


def _without_code(text: str) -> str:
    kept, is_inside = [], False
    for line in text.splitlines():
        if _FENCE.match(line):
            is_inside = not is_inside
        elif not is_inside:
            kept.append(line)
    return "\n".join(kept)


def _anchor(heading: str, taken: set[str]) -> str:
    """As GitHub makes them: lower case, blanks as ``-``, other signs dropped."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
    name, n = plain, 0
    while name in taken:
        n += 1
        name = f"{plain}-{n}"
    return name
