"""What commands print: tables for people, aligned text for pipes, JSON for programs."""

from __future__ import annotations

import datetime
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from motoko.cli import words

Rows = Sequence[Sequence[Any]]
#: A terminal with fewer columns has no room for a table.
_NARROW = 40
_COLOURS = {"ok": "green", "warning": "yellow", "mistake": "red"}
_STYLES = {
    "FINISHED": "green",
    "RUNNING": "cyan",
    "SUBMITTED": "cyan",
    "FAILED": "bold red",
    "CANCELLED": "magenta",
}


def is_for_people() -> bool:
    """Whether somebody looks at what is printed."""
    return sys.stdout.isatty()


def table(headers: Sequence[str], rows: Rows, *, title: str | None = None) -> None:
    """Print rows under their headers; numbers stand at the right.

    Nothing is cut: at a terminal long cells are folded, and numbers are rounded.
    """
    is_rounded = is_for_people()
    cells = [[words.value(cell, is_rounded=is_rounded) for cell in row] for row in rows]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
        for i in range(len(headers))
    ]
    if is_for_people():
        _rich_table(headers, cells, numeric, title)
        return
    if title:
        click.echo(title)
    for line in aligned([list(headers), *cells], numeric):
        click.echo(line)


def aligned(lines: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str]:
    """Columns as plain text, two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]


def _rich_table(
    headers: Sequence[str], cells: Rows, numeric: Sequence[bool], title: str | None
) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if console.width < _NARROW:
        _listed(headers, cells, numeric, title, console.width)
    else:
        console.print(rich_table(headers, cells, numeric, title))


def _listed(
    headers: Sequence[str], cells: Rows, numeric: Sequence[bool], title: str | None, width: int
) -> None:
    """The same, for a terminal where columns have no room: a cell a line, unless they fit."""
    if title:
        click.echo(title)
    lines = aligned([list(headers), *cells], numeric)
    if max(map(len, lines)) <= width:
        click.echo("\n".join(lines))
        return
    for i, row in enumerate(cells):
        if i:
            click.echo()
        for header, cell in zip(headers, row, strict=True):
            if cell:
                click.echo(f"{header}: {cell}")


def rich_table(
    headers: Sequence[str], cells: Rows, numeric: Sequence[bool], title: str | None = None
) -> Any:
    """A table for a terminal; states have their colours, and numbers are never folded."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for i, (header, is_number) in enumerate(zip(headers, numeric, strict=True)):
        made.add_column(
            Text(header, _STYLES.get(header, "")),
            justify="right" if is_number else "left",
            overflow="fold",
            min_width=max((len(row[i]) for row in cells), default=1) if is_number else 1,
        )
    for row in cells:
        shown = []
        for header, cell in zip(headers, row, strict=True):
            style = _STYLES.get(str(cell), _STYLES.get(header, "") if cell != "0" else "dim")
            shown.append(Text(str(cell), style))
        made.add_row(*shown)
    return made


def facts(pairs: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> None:
    """Print names and values below each other; what has no value is left out."""
    items = list(pairs.items() if isinstance(pairs, Mapping) else pairs)
    shown = [(name, str(found)) for name, found in items if found not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    for name, text in shown:
        first, *more = text.splitlines() or [""]
        click.echo(f"{name.ljust(width)}  {first}")
        for line in more:
            click.echo(f"{' ' * width}  {line}")


def as_json(data: Any) -> None:
    """Print data as JSON; times are seconds since the epoch.

    Numbers that JSON has not are written as the strings ``NaN``, ``Infinity``, ``-Infinity``.
    """
    click.echo(json.dumps(_plain(data), indent=2, allow_nan=False))


def _plain(given: Any) -> Any:
    if isinstance(given, Mapping):
        return {str(name): _plain(one) for name, one in given.items()}
    if isinstance(given, set | frozenset):
        return [_plain(one) for one in sorted(given, key=repr)]
    if isinstance(given, list | tuple):
        return [_plain(one) for one in given]
    if isinstance(given, float) and not math.isfinite(given):
        return json.dumps(given)
    if given is None or isinstance(given, str | int | float):
        return given
    if isinstance(given, datetime.date | datetime.time):
        return given.isoformat()
    if hasattr(given, "tolist"):
        return _plain(given.tolist())
    if isinstance(given, bytes):
        return given.decode("utf-8", "replace")
    return str(given)


def lines(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows whose last cell is a text of any length; states and levels are coloured."""
    n_columns = max((len(row) for row in rows), default=1)
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(n_columns - 1)]
    for row in rows:
        *cells, text = row
        shown = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        if is_for_people() and cells and cells[0] in _COLOURS:
            shown[0] = click.style(shown[0], fg=_COLOURS[cells[0]])
        indent = " " * (sum(widths) + 2 * len(widths))
        click.echo("  ".join([*shown, text.replace("\n", f"\n{indent}")]))
