"""What the processes of a dask cluster do for Motoko, which sends them these functions.

Nothing of Motoko has to be installed there: only the standard library and dask are used.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any

#: How often a task looks whether it is still wanted.
_LOOK_S = 0.5
#: How long a script that was asked to end may take.
_GRACE_S = 10.0
#: Ends a script whose worker has died: that has the other end of this one's input.
_WATCH = 'read -r _ || { kill -TERM -- "-$0"; sleep 5; kill -KILL -- "-$0"; } 2>/dev/null'


def execute(
    key: str, script: str, directory: str, log: str, limit_s: float | None
) -> int | None:
    """Execute a script on a worker, in a session of its own; its exit code.

    It is ended when its time is over, when its task is cancelled, and with its worker.
    """
    from time import monotonic

    from distributed import get_worker

    worker = get_worker()
    with open(f"{directory}/{log}", "ab") as output:
        process = subprocess.Popen(
            ["/bin/bash", script],
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        watch = subprocess.Popen(
            ["/bin/bash", "-c", _WATCH, str(process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        began = monotonic()
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_LOOK_S)
                task = worker.state.tasks.get(key)
                if task is None or task.state == "cancelled":
                    return _end(process)
                if limit_s is not None and monotonic() - began > limit_s:
                    output.write(b"motoko: it is ended DUE TO TIME LIMIT\n")
                    output.flush()
                    return _end(process)
        finally:
            watch.communicate(b"over\n")


def _end(process: subprocess.Popen[bytes]) -> int | None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_GRACE_S)
    return None


def _environment() -> dict[str, str]:
    """That of the worker, without what dask tells numerical libraries to do in its tasks."""
    import dask

    told = dask.config.get("distributed.nanny.pre-spawn-environ", {})
    return {name: value for name, value in os.environ.items() if name not in told}


def known(keys: list[str], dask_scheduler: Any) -> bool:
    """Whether the scheduler has all of these tasks."""
    return all(key in dask_scheduler.tasks for key in keys)


def offered(dask_scheduler: Any) -> list[str]:
    """The kinds of resources that workers offer."""
    return sorted({name for one in dask_scheduler.workers.values() for name in one.resources})


def listed(prefix: str, dask_scheduler: Any) -> list[list[str]]:
    """Key, state, and where it is or why it is nowhere, of all tasks of a prefix; and of the
    scheduler itself, so that the list is never empty."""
    found = [["scheduler", "processing", dask_scheduler.address]]
    for task in dask_scheduler.tasks.values():
        if not str(task.key).startswith(prefix):
            continue
        state, where = task.state, ""
        if state == "processing":
            state = "executing" if task in task.processing_on.executing else "assigned"
            where = task.processing_on.address
        elif state == "erred":
            where = str(task.exception_text or "")
        elif state == "no-worker":
            where = ", ".join(
                f"{k}={v:g}" for k, v in (task.resource_restrictions or {}).items()
            )
        found.append([str(task.key), state, where])
    return found
