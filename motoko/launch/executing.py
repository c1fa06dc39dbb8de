"""Runs whose processes are still there, told from their run directories alone.

No database is asked: it may be away, damaged or gone, and a state says what was recorded, not
what executes. A script that said finish() may go on; one whose launcher was killed does.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from motoko.host import host_name
from motoko.job import layout, token
from motoko.job.holders import find_held, is_held
from motoko.job.outcome import read_outcome
from motoko.study.study import Study


class Executing(NamedTuple):
    """An attempt that executes, as far as can be known here, and where."""

    study: str
    run_id: int
    attempt: int
    run_dir: str
    host: str
    nonce: str

    @property
    def title(self) -> str:
        """The run as people write it: ``study.id``."""
        return f"{self.study}.{self.run_id}"

    @property
    def is_here(self) -> bool:
        """Whether it executes on this host."""
        return self.host == host_name()


class Inherited(NamedTuple):
    """An attempt that earlier launchers left processes of on this host."""

    run_id: int
    number: int
    #: Empty if its token is damaged.
    nonce: str


def find_inherited(study: Study) -> list[Inherited]:
    """All of a study; OSError when that cannot be told now."""
    found = []
    for run_id, number in sorted(find_held(str(study.runs_dir))):
        taken = token.read_token(study.run_dir(run_id), number)
        if taken is not None:
            found.append(Inherited(run_id, number, taken.nonce))
    return found


def find_executing(study: Study) -> list[Executing]:
    """All of a study, by run; OSError when a directory cannot be read."""
    return find_below(study.runs_dir, study.name)


def find_below(runs_dir: Path, name: str) -> list[Executing]:
    """All in a directory of runs, of a study of this name."""
    try:
        names = os.listdir(runs_dir)
    except FileNotFoundError:
        return []
    ids = (name.removeprefix("run-") for name in names if name.startswith("run-"))
    found = (
        _executing(name, int(run_id), str(runs_dir / f"run-{run_id}"))
        for run_id in ids
        if run_id.isdecimal()
    )
    return sorted(one for one in found if one is not None)


def executing_in(study: Study, run_id: int, without: Collection[str] = ()) -> Executing | None:
    """What executes in the directory of a run; as if it were ``without`` some files.

    On this host the lock of its token says so. On another one, it does until it has left an
    outcome or its launcher has said how it ended.
    """
    return _executing(study.name, run_id, str(study.run_dir(run_id)), without)


def _executing(
    study: str, run_id: int, run_dir: str, without: Collection[str] = ()
) -> Executing | None:
    try:
        names = [name for name in os.listdir(run_dir) if name not in without]
    except (FileNotFoundError, NotADirectoryError):
        return None
    for number in _attempts(names):
        taken = token.read_token(run_dir, number)
        host = _host(run_dir, number, names, taken)
        if host is not None:
            nonce = taken.nonce if taken is not None else ""
            return Executing(study, run_id, number, run_dir, host, nonce)
    return None


def held_attempts(run_dir: str) -> dict[int, str]:
    """The attempts that execute on this host in a run directory: nonces by number."""
    try:
        names = os.listdir(run_dir)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    held = (number for number in sorted(_attempts(names)) if is_held(run_dir, number))
    taken = {number: token.read_token(run_dir, number) for number in held}
    return {number: one.nonce for number, one in taken.items() if one is not None}


def _attempts(names: list[str]) -> Iterator[int]:
    prefix = Path(layout.token_file("", 0)).name.removesuffix("0")
    for name in names:
        number = name.removeprefix(prefix)
        if name.startswith(prefix) and number.isdecimal():
            yield int(number)


def _host(run_dir: str, number: int, names: list[str], taken: token.Token | None) -> str | None:
    if is_held(run_dir, number, taken):
        return host_name()
    if taken is None or taken.host in ("", host_name()):
        return None
    is_told = layout.FINISHED in names or layout.FAILED in names
    if is_told or read_outcome(run_dir, number, taken.nonce) is not None:
        return None
    return taken.host
