"""What the files of one attempt say: journals, quantities, the end of standard error."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from motoko.job import journal, layout, quantities, token
from motoko.job.verdict import Said

#: What is kept of standard error when an attempt failed.
TAIL_LINES = 20
TAIL_BYTES = 4096
_MOST_DAMAGE = 10
#: A directory with more names is not listed for a knock that tells the journal.
_FEW = 1000
#: A change so shortly after another may have got the same time: on most file systems, on all.
_FINE_S = 0.05
_COARSE_S = 2.0

Entry = dict[str, Any]


class _Value(NamedTuple):
    size: tuple[int, int]
    written: float
    #: Step and value of the last row, if there is one.
    row: tuple[int, Any] | None


class _Listing(NamedTuple):
    """The names in a directory, and of which state of it they are."""

    names: list[str]
    changed: int
    #: When the directory was first seen with that time of change, and when it was listed.
    since: float
    at: float


class Reading:
    """Reads an attempt's files, each time from where it stopped."""

    def __init__(
        self,
        run_dir: str,
        attempt: int,
        nonce: str,
        *,
        inputs: Collection[str] = (),
        folded: Mapping[str, int] | None = None,
    ) -> None:
        """``inputs`` are names of files that the attempt was given. Up to the offsets in
        ``folded`` (by name of journal), entries were recorded before."""
        self._run_dir = run_dir
        self._nonce = nonce
        self._prefix = layout.journal_prefix(attempt)
        self._refusal_prefix = layout.refusal_prefix(attempt)
        self._inputs = inputs
        self._folded = dict(folded or {})
        self._latest: dict[str, float] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._quantities: set[str] = set()
        self._listing: _Listing | None = None
        self._journals: list[str] = []
        #: What its script has said of its state.
        self.said = Said()
        #: How far each journal was read, by its name.
        self.offsets: dict[str, int] = {}
        #: Lines that could not be used, a sentence each.
        self.damage: list[str] = []
        #: Further starts that were refused, a sentence each, by the name of the note.
        self.refusals: dict[str, str] = {}
        #: Step and last value of each quantity.
        self.last_values: dict[str, tuple[int, Any]] = {}
        #: The latest step, and when it was written; None before the first.
        self.last_step: tuple[int, float] | None = None

    @property
    def names(self) -> list[str]:
        """Names of the files in the directory, when it was last listed."""
        return self._listing.names if self._listing is not None else []

    def read(self, journal: str | None = None, *, is_last: bool = False) -> list[Entry]:
        """Take in what is new; the entries that were not recorded before, by time.

        ``journal`` is the name of one that has something new, if that was told: a large
        directory is not listed for it. The last time, it always is. Quantities are known from
        journals; the last time, also from the files that are there, since a program may have
        written some by itself. OSError when something cannot be read now: nothing of the rest
        has been taken in then.
        """
        is_told = journal is not None and journal.startswith(self._prefix)
        listing = self._listed(is_told=is_told, is_last=is_last)
        names = listing.names if listing is not self._listing else []
        journals = self._journals
        if listing is not self._listing:
            journals = sorted(name for name in names if name.startswith(self._prefix))
        parts = {name: self._part(name) for name in journals}
        if journal is not None and is_told and journal not in parts:
            told = self._part(journal)
            if told[0].offset:  # else it may not exist
                parts[journal] = told
        refusals = {
            name: token.read_refusal(f"{self._run_dir}/{name}")
            for name in names
            if self._is_refusal(name) and name not in self.refusals
        }
        found = [entry for part, _ in parts.values() for entry in part.entries]
        known = self._quantities | {
            str(entry.get("name")) for entry in found if entry["op"] == "quantity"
        }
        if is_last:
            known |= {n[: -len(layout.QUANTITY_SUFFIX)] for n in names if self._is_table(n)}
        values = {name: value for name in known if (value := self._new_value(name))}

        # Everything has been read: what is taken in from here on is taken in as a whole.
        self._listing = listing
        self._journals = sorted(parts)
        news: list[Entry] = []
        for name, (part, n_new) in parts.items():
            self._take_in(name, part)
            news += part.entries[len(part.entries) - n_new :]
        for name, said in refusals.items():
            if len(self.refusals) < _MOST_DAMAGE:
                self.refusals[name] = said
        self.said.hear(found)
        self._quantities = known
        for name, value in values.items():
            self._sizes[name] = value.size
            if value.row is not None:
                self.last_values[name] = value.row
                if self.last_step is None or value.row[0] >= self.last_step[0]:
                    self.last_step = (value.row[0], value.written)
        return sorted(news, key=_time) if len(news) > 1 else news

    def _listed(self, *, is_told: bool, is_last: bool) -> _Listing:
        """The names in the directory: those known, unless there may be others by now."""
        known, now = self._listing, time.monotonic()
        try:
            changed = os.stat(self._run_dir).st_mtime_ns
            if known is not None and not is_last:
                if is_told and len(known.names) > _FEW:
                    return known
                if changed == known.changed and not _may_lack(known, now):
                    return known
            names = os.listdir(self._run_dir)
        except FileNotFoundError:
            changed, names = -1, []
        is_same = known is not None and changed == known.changed
        since = known.since if known is not None and is_same else now
        return _Listing(names, changed, since, now)

    def _is_table(self, name: str) -> bool:
        is_own = name.startswith(".") or name in self._inputs
        return name.endswith(layout.QUANTITY_SUFFIX) and not is_own

    def _is_refusal(self, name: str) -> bool:
        prefix = self._refusal_prefix
        return name.startswith(prefix) and "." not in name.removeprefix(prefix)

    def _part(self, name: str) -> tuple[journal.JournalPart, int]:
        """What is new in a journal, and how many entries of that were not recorded before."""
        path = f"{self._run_dir}/{name}"
        start = self.offsets.get(name, 0)
        folded = self._folded.get(name, 0)
        part = journal.read_journal(path, start, self._nonce)
        if folded <= start:
            return part, len(part.entries)
        return part, len(journal.read_journal(path, folded, self._nonce).entries)

    def _take_in(self, name: str, part: journal.JournalPart) -> None:
        for entry in part.entries:  # a clock that was set back does not turn them round
            entry["t"] = self._latest[name] = max(
                self._latest.get(name, 0.0), float(entry["t"])
            )
        self.damage += part.damage[: max(0, _MOST_DAMAGE - len(self.damage))]
        self.offsets[name] = part.offset

    def _new_value(self, name: str) -> _Value | None:
        """What a quantity's file says last; None when it is as it was."""
        path = layout.quantity_file(self._run_dir, name)
        try:
            status = os.stat(path)
        except (OSError, ValueError):  # none there, or no name that a file can have
            return None
        size = (status.st_size, status.st_mtime_ns)
        if self._sizes.get(name) == size:
            return None
        return _Value(size, status.st_mtime, quantities.last_row(path))


def last_lines(path: str) -> str:
    """The end of a text file, bounded in lines and bytes; empty when it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TAIL_BYTES))
            content = file.read(TAIL_BYTES)
    except OSError:
        return ""
    lines = content.decode("utf-8", "replace").splitlines()
    if size > TAIL_BYTES and len(lines) > 1:
        del lines[0]  # lacks its beginning
    return "\n".join(lines[-TAIL_LINES:])


def _may_lack(listing: _Listing, now: float) -> bool:
    """Whether names may have come after a listing without a new time of change."""
    waited_s = listing.at - listing.since
    if waited_s < _FINE_S:
        return True
    return waited_s < _COARSE_S <= now - listing.since


def _time(entry: Entry) -> float:
    return float(entry["t"])
