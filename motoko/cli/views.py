"""What is shown while a workflow runs: a live table, or lines where nobody looks."""

from __future__ import annotations

import time
from typing import Any, Protocol

import anyio
import click

from motoko.cli import words
from motoko.cli.logs import Latest
from motoko.cli.output import rich_table
from motoko.workflow.views.progress import Progress

_FRAME_S = 0.1
_CLOCK_S = 0.5
_LINE_S = 1.0
_BAR = 16
#: A bar shorter than this says nothing.
_SHORTEST_BAR = 4
_ENDLESS = 10_000


def without_advice(trouble: str) -> str:
    """What was amiss, without the clause that has the command against it."""
    before, quote, _ = trouble.partition("`")
    end = max(before.rfind(": "), before.rfind("; "))
    return before[:end] if quote and end > 0 else trouble


class View(Protocol):
    """Shows progress until it is cancelled; `close` shows how it ended."""

    async def follow(self, progress: Progress) -> None:
        """Show what there is, and what comes."""

    def close(self, progress: Progress) -> None:
        """Leave the last word on the screen."""


class Silent:
    """Shows nothing: somebody else looks, at the log."""

    async def follow(self, progress: Progress) -> None:
        """Wait to be cancelled."""
        await anyio.sleep_forever()

    def close(self, progress: Progress) -> None:
        """Nothing is left to say."""


class Lines:
    """One line for each change, one a second at most."""

    def __init__(self) -> None:
        self._last = ""
        self._troubles: list[str] = []

    async def follow(self, progress: Progress) -> None:
        """Print until it is cancelled."""
        while True:
            self._show(progress)
            await anyio.sleep(_LINE_S)
            await progress.wait(_LINE_S)  # nobody tells of a stall

    def close(self, progress: Progress) -> None:
        """Print how it ended."""
        self._show(progress)

    def _show(self, progress: Progress) -> None:
        clock = f"[{words.duration(progress.elapsed_s)}]"
        before, self._troubles = self._troubles, progress.troubles
        for text in self._troubles:
            if text not in before:
                click.echo(f"{clock} trouble: {text}")
        for text in before:
            if text not in self._troubles:
                click.echo(f"{clock} over: {without_advice(text)}")
        parts = [
            f"{study}: {words.states(counts)}"
            for study, counts in progress.counts.items()
            if counts
        ]
        parts += _held(progress)
        lacks: list[str] = []
        if progress.is_stalled:
            parts.append(_stalled(progress))
            lacks = progress.lacks
        text = "\n  ".join(["; ".join(parts), *lacks])
        if text and text != self._last:
            self._last = text
            click.echo(f"{clock} {text}")


class Live:
    """A table of all studies that changes in place, and the last events below it."""

    def __init__(self, latest: Latest) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._latest = latest
        self._console = Console(highlight=False)
        self._live = RichLive(console=self._console, auto_refresh=False)
        self._states: set[str] = set()  # a column that was there once stays if there is room

    async def follow(self, progress: Progress) -> None:
        """Draw until it is cancelled."""
        self._live.start()
        while True:
            self._live.update(self._picture(progress), refresh=True)
            await anyio.sleep(_FRAME_S)
            await progress.wait(_CLOCK_S)

    def close(self, progress: Progress) -> None:
        """Leave the last picture on the screen."""
        if self._live.is_started:
            self._live.update(self._picture(progress, is_last=True), refresh=True)
            self._live.stop()

    def _picture(self, progress: Progress, *, is_last: bool = False) -> Any:
        from rich.console import Group
        from rich.text import Text

        title = f"{progress.workflow.directory.name}  {progress.run_name}"
        heading = Text.assemble((title, "bold"), f"  {words.duration(progress.elapsed_s)}")
        parts: list[Any] = [heading, self._table(progress)]
        if not is_last:
            for when, message in list(self._latest.messages):
                clock = time.strftime("%H:%M:%S", time.localtime(when))
                line = Text(
                    f"{clock} {message}", style="dim", no_wrap=True, overflow="ellipsis"
                )
                parts.append(line)
            parts += [Text(text, style="bold red") for text in progress.troubles]
            parts += [Text(text, style="bold yellow") for text in _held(progress)]
            if progress.is_stalled:
                parts.append(Text(_stalled(progress), style="bold yellow"))
                parts += [Text(f"  {text}", style="yellow") for text in progress.lacks]
        return Group(*parts)

    def _table(self, progress: Progress) -> Any:
        """As much as there is room for: numbers are left out rather than cut."""
        present = {s for counts in progress.counts.values() for s, n in counts.items() if n}
        self._states |= present
        for states, has_rate in ((self._states, True), (present, True), (present, False)):
            room = self._room(_table(progress, states, has_rate))
            if room >= _SHORTEST_BAR:
                return _table(progress, states, has_rate, min(_BAR, room))
            if room >= 0:
                return _table(progress, states, has_rate)
        return _narrow(progress)

    def _room(self, table: Any) -> int:
        """How many columns of the terminal a table leaves."""
        from rich.measure import Measurement

        options = self._console.options.update(width=_ENDLESS, max_width=_ENDLESS)
        return self._console.width - Measurement.get(self._console, options, table).maximum


def _table(progress: Progress, present: set[str], has_rate: bool, bar_width: int = 0) -> Any:
    states = words.ordered_states(present)
    headers = ["study", *states, "done", *(["rate"] if has_rate else [])]
    rows = []
    for study, counts in progress.counts.items():
        cells = [study, *(str(counts.get(state, 0)) for state in states)]
        cells.append(_bar(progress.n_done(study), progress.n_runs(study), bar_width))
        if has_rate:
            cells.append(_rate(progress.rate(study)))
        rows.append(cells)
    return rich_table(headers, rows, [False, *(True for _ in headers[1:])])


def _narrow(progress: Progress) -> Any:
    """A study a line, or as many as it needs."""
    from rich.text import Text

    lines = [
        f"{study}: {words.states(counts)}"
        f" {_bar(progress.n_done(study), progress.n_runs(study), 0)}".rstrip()
        for study, counts in progress.counts.items()
    ]
    return Text("\n".join(lines))


def _held(progress: Progress) -> list[str]:
    if not progress.held:
        return []
    names = " ".join(name for name in progress.counts if name in progress.held)
    return [f"held: no run of {names} begins until `motoko launcher release {names}`"]


def _stalled(progress: Progress) -> str:
    text = "stalled: nothing runs and no condition is true"
    n_failed = progress.n_failed()
    return f"{text} ({words.counted(n_failed, 'run')} FAILED)" if n_failed else text


def _bar(n_done: int, n_runs: int, width: int) -> str:
    if not n_runs:
        return ""
    filled = width * n_done // n_runs
    share = f"{100 * n_done // n_runs}%".rjust(4)
    return f"{'━' * filled}{'╌' * (width - filled)} {share}".lstrip()


def _rate(per_s: float) -> str:
    if per_s <= 0:
        return ""
    return f"{per_s:.1f}/s" if per_s >= 1 else f"{60 * per_s:.1f}/min"
