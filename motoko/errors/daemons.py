"""Errors of background processes, and of what they would be started in."""

from __future__ import annotations

from motoko.errors.root import MotokoError
from motoko.phrases import listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence, Tuple


class DaemonError(MotokoError):
    """A background process could not be started, found or stopped."""


class AlreadyRunning(DaemonError, RuntimeError):
    """Another process does this already; ``stop`` is the command that ends it, if any."""

    def __init__(self, what: str, owner: str, stop: str = "") -> None:
        stops = f"; `{stop}` stops it" if stop else ""
        message = f"{what} is already running ({owner}{stops})"
        super().__init__(message, what=what, owner=owner, stop=stop)


class NotRunning(DaemonError, RuntimeError):
    """There is no such process."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not running", what=what)


class StartFailed(DaemonError, RuntimeError):
    """A background process ended, or said nothing, before it was ready."""

    what: str
    exit_code: Optional[int] = None

    def __init__(
        self, what: str, why: str, log_file: str, exit_code: Optional[int] = None
    ) -> None:
        message = f"{what} did not start: {why} (log: {log_file})"
        super().__init__(message, what=what, why=why, log_file=log_file, exit_code=exit_code)


class ForeignOwner(DaemonError, RuntimeError):
    """The process that owns this lives on another host."""

    def __init__(self, what: str, owner: str) -> None:
        message = (
            f"{what} belongs to {owner}; stop it there first or, if that host is gone, say"
            " --takeover to `motoko run`, `server start`, `launcher` or `orchestrator start`"
        )
        super().__init__(message, what=what, owner=owner)


class RunsExecuting(DaemonError, RuntimeError):
    """Runs still execute in what was to be moved, removed or replaced.

    ``runs`` are pairs of a run's name and the host that it executes on.
    """

    def __init__(self, directory: str, runs: Sequence[Tuple[str, str]]) -> None:
        n_runs = "1 run still executes" if len(runs) == 1 else f"{len(runs)} runs still execute"
        lines = [f"{n_runs} in {directory}"]
        for host in sorted({host for _, host in runs}):
            names = [name for name, where in runs if where == host]
            lines.append(f"  on {host}: {listed(names, 10)}")
        lines.append("end them with `motoko kill --reset`, there, or wait for them")
        super().__init__("\n".join(lines), directory=directory, runs=tuple(runs))


class MovedOrCopied(DaemonError, RuntimeError):
    """A workflow's databases are not where they were, and may be a copy."""

    directory: str

    def __init__(
        self, directory: str, place: str, before: str, host: str, *, is_there: bool
    ) -> None:
        from shlex import quote  # job scripts load this module, and need none of that

        how = "which is still there" if is_there else f"on {host}"
        where = quote(directory)
        message = (
            f"what is in {place} was last used in {before}, {how}: was it moved or copied? Say"
            f" `motoko place {where} --moved` or `motoko place {where} --copied`"
        )
        super().__init__(message, directory=directory, place=place, before=before, host=host)


class WorkflowMoved(DaemonError, RuntimeError):
    """A workflow's directory got another name while something of it ran."""

    directory: str
    now: Optional[str]

    def __init__(self, directory: str, now: Optional[str], run_name: Optional[str]) -> None:
        from shlex import quote  # job scripts load this module, and need none of that

        name = f" --run_name {quote(run_name)}" if run_name else ""
        where = f" to {now}" if now else ""
        message = (
            f"{directory} was moved{where} while this ran:"
            f" `motoko run {quote(now) if now else 'DIR'}{name}` goes on there"
        )
        super().__init__(message, directory=directory, now=now, run_name=run_name)
