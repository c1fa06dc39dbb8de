"""Pieces of Markdown, and templates that they are put into."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"
NOTE = """\
<!-- Written by `make docs` from the code and docs/generator/templates: change it there. -->
"""


def page(name: str, **parts: str) -> str:
    """A page: its template, with ``{{part}}`` replaced. Each part must occur once."""
    text = (TEMPLATES / f"{name}.in").read_text()
    wanted = sorted(re.findall(r"\{\{(\w+)\}\}", text))
    if wanted != sorted(parts):
        raise ValueError(f"{name} wants {wanted}, and is given {sorted(parts)}")
    for part, content in parts.items():
        text = text.replace(f"{{{{{part}}}}}", content.strip("\n"))
    return f"{NOTE}\n{text}"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Text as code inside a line."""
    return f"`{text}`"


def block(text: str, language: str = "text") -> str:
    """A fenced block."""
    content = text.strip("\n")
    return f"```{language}\n{content}\n```"


def prose(thing: Any) -> str:
    """The docstring of something as Markdown."""
    return from_docstring(inspect.getdoc(thing) or "")


def from_docstring(text: str) -> str:
    """Markdown for a docstring: literal blocks are fenced, ``x`` becomes `x`."""
    kept: list[str] = []
    literal: list[str] = []
    is_literal = False
    for line in [*text.splitlines(), "end"]:
        if is_literal and (not line.strip() or line.startswith("    ")):
            literal.append(line[4:])
            continue
        if is_literal:
            kept += [block("\n".join(literal)), ""]
            literal, is_literal = [], False
        if line.endswith("::"):
            is_literal = True
            line = line[:-1] if line != "::" else ""
        kept.append(line)
    plain = "\n".join(kept[:-1]).strip("\n")
    return re.sub(r"(?<!`)``(?!`)(.+?)(?<!`)``(?!`)", _in_one_line, plain, flags=re.DOTALL)


def _in_one_line(found: re.Match[str]) -> str:
    return code(" ".join(found.group(1).split()))
