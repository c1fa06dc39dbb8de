"""A quantity of several runs as curves."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import click

from motoko.cli.bd.options import Arguments
from motoko.cli.bd.using import Using
from motoko.errors import EntryNotFound

_STYLES = ("-", "--", "-.", ":")


def draw(given: Arguments, pairs: list[tuple[Any, Any]]) -> int:
    """Draw the curves, into a file or a window; how many there are."""
    try:
        import matplotlib
    except ImportError:
        raise click.UsageError(
            "runs plot needs matplotlib: pip install 'motoko[plot]'"
        ) from None
    if given.fileout is not None:
        matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name.strip() for name in given.quantity.split(",")]
    using = None if given.using is None else Using(given.using, len(names))
    size = _two(given.figsize)
    figure, axes = pyplot.subplots(figsize=size)
    styles = itertools.cycle(_STYLES)
    n_curves = 0
    for run, job in pairs:
        try:
            tables = [_chosen(run.get_quantity(name), given) for name in names]
        except EntryNotFound:
            continue
        look: dict[str, Any] = {"marker": given.marker}
        if given.blackwhite:
            look.update(color="black", linestyle=next(styles))
        for x, y in _curves(tables, using):
            x, y = x * given.xscale, y * given.yscale
            axes.plot(x, y, label=_legend(given.legend, run, job), **look)
            n_curves += 1
    axes.set_xlabel(given.xlabel or "step")
    axes.set_ylabel(given.ylabel or given.quantity)
    axes.set_title(given.title or "")
    if given.xrange:
        axes.set_xlim(_two(given.xrange))
    if given.yrange:
        axes.set_ylim(_two(given.yrange))
    if n_curves:
        axes.legend()
    if given.fileout is None:
        pyplot.show()
    else:
        figure.savefig(given.fileout)
    pyplot.close(figure)
    return n_curves


def _chosen(table: Any, given: Arguments) -> Any:
    """The rows of a quantity that are meant."""
    steps = table.iloc[:, 0]
    low = steps.min() if given.start is None else given.start
    high = steps.max() if given.end is None else given.end
    return table[(steps >= low) & (steps <= high)].iloc[:: given.frequency]


def _curves(tables: list[Any], using: Using | None) -> Iterator[tuple[Any, Any]]:
    """What to draw over what: each column over its steps, or what ``using`` says of the steps
    that all quantities have, and of their columns in turn."""
    if using is None:
        for table in tables:
            for i in range(1, table.shape[1]):
                yield table.iloc[:, 0], table.iloc[:, i]
        return
    indexed = [table.set_index(table.columns[0]) for table in tables]
    common = indexed[0].index
    for table in indexed[1:]:
        common = common.intersection(table.index)
    for i in range(max(table.shape[1] for table in indexed)):
        columns = [t.loc[common].iloc[:, min(i, t.shape[1] - 1)] for t in indexed]
        steps = common.to_numpy(dtype=float)
        x, y = using([(steps, column.to_numpy(dtype=float)) for column in columns])
        yield x + 0 * steps, y + 0 * steps


def _legend(pattern: str | None, run: Any, job: Any) -> str:
    if pattern is None:
        return f"run {run.id}"
    records = {"r": run, "j": job}
    return re.sub(r"%([rj])\.(\w+)", lambda m: str(records[m[1]][m[2]]), pattern)


def _two(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        first, second = (float(part) for part in re.split(r"[\s,]+", text.strip("() ")))
    except ValueError:
        raise click.UsageError(f"{text!r} is not of the form 0,1") from None
    return first, second
