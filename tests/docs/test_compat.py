"""The table of what existing directories use names tests that are there."""

from __future__ import annotations

import ast
import re

from tests.support.docs_pages import ROOT

PAGE = ROOT / "docs" / "reference" / "compat.md"
_ROW = re.compile(
    r"\| (?P<what>.+?) \| (?P<here>.+?) \| `(?P<file>[\w/]+\.py)::(?P<test>\w+)` \|"
)


def test_every_line_is_shown_by_a_test_that_exists() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [line for line in lines if line != "| what | here | shown by |"]
    found = [_ROW.fullmatch(line) for line in rows]

    assert len(rows) > 100
    assert [row for row, match in zip(rows, found, strict=True) if match is None] == []
    for match in found:
        assert match is not None
        tree = ast.parse((ROOT / "tests" / match["file"]).read_text())
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        names = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
        assert match["test"] in names, match["test"]
