"""A cluster of dask.distributed: workers on machines without a batch system.

Each run is a task that executes the script on one of them. There are no programs to call: the
adapter's commands are words, which a client in this process passes on.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from motoko.config.retry import INFRASTRUCTURE
from motoko.config.walltime import parse_walltime
from motoko.errors import SchedulerOutputError
from motoko.launch import dask_side
from motoko.launch.batch_generator import Array, BatchGenerator, JobStatus, Phase, Shape
from motoko.launch.commands import Answer
from motoko.launch.options import Dialect, split
from motoko.launch.ticket import JOB_PREFIX

_PREFIX = "#DASK"
_WHERE = "scheduler"
_PLACE = "it is said in motoko.yaml, for all studies"
_RESERVED = {
    _WHERE: _PLACE,
    f"{_WHERE}-file": _PLACE,
    "key": "by its key a task is found again",
    "log": "standard output goes into the run directory",
    "limit": "`walltime` is the limit",
    "retries": "it tries runs again itself (`retry`)",
}
_OWN = ("key", "log", "limit")
_KNOWN = ("priority", "resources", "workers")
_AWAY = "does not answer"
#: What dask calls what is scarce, where workers say that they have some of it.
_CORES, _MEMORY, _GPUS = "cores", "memory", "GPU"


class Dask(BatchGenerator):
    """Hands runs to a cluster of dask.distributed."""

    name = "dask"
    prefix = _PREFIX
    has_arrays = False
    away = re.compile(f"{_AWAY}|no dask scheduler|needs distributed")
    dialect = Dialect(
        reserved=_RESERVED,
        aliases={"worker": "workers", "resource": "resources"},
        lists=frozenset({"resources"}),
    )

    def __init__(self, options: Sequence[str] = ()) -> None:
        """``scheduler=tcp://host:8786`` among them, or ``scheduler-file=...``, says where."""
        given = dict(split(option) for option in options)
        super().__init__([o for o in options if not split(o)[0].startswith(_WHERE)])
        self._address = given.get(_WHERE)
        self._file = given.get(f"{_WHERE}-file")
        self._connecting = threading.Lock()
        self._client: Any = None

    def required_commands(self) -> Sequence[str]:
        return ()

    def problem(self) -> str | None:
        try:
            self._connected(5.0)
        except _Unreachable as error:
            return str(error)
        finally:
            self.close()
        return None

    def directives(
        self, name: str, shape: Shape, log: str, array: Array | None = None
    ) -> list[str]:
        given = shape.resources
        neutral = [f"resources={_CORES}={given.nproc}"]
        if given.mem_mb is not None:
            neutral.append(f"resources={_MEMORY}={given.mem_mb << 20}")
        if given.gpus is not None:
            neutral.append(f"resources={_GPUS}={given.gpus}")
        if given.partition is not None:
            neutral.append(f"resources={given.partition}=1")
        own = [f"key={name}", f"log={log}"]
        if given.walltime_s is not None:
            own.append(f"limit={given.clock}")
        return [*own, *self.dialect.merged(neutral, shape.options)]

    def submit_command(self, script: str) -> list[str]:
        return ["dask-submit", script]

    def parse_submission(self, output: str) -> str:
        if not output.startswith(JOB_PREFIX):
            raise SchedulerOutputError("dask-submit", output)
        return output

    def status_command(self, user: str) -> list[str]:
        return ["dask-list", JOB_PREFIX]

    def parse_status(self, output: str) -> dict[str, JobStatus]:
        try:
            return {key: _status(key, state, where) for key, state, where in json.loads(output)}
        except (ValueError, TypeError):
            raise SchedulerOutputError("dask-list", output[:200]) from None

    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        return ["dask-cancel", *ids]

    # speaking to the scheduler

    def ask(
        self, command: Sequence[str], timeout_s: float, directory: str | None = None
    ) -> Answer:
        verb, *arguments = command
        try:
            client = self._connected(timeout_s)
        except _Unreachable as error:
            return Answer(1, "", str(error))
        try:
            match verb:
                case "dask-submit":
                    return self._submit(client, Path(directory or "."), arguments[0], timeout_s)
                case "dask-list":
                    found = self._at_scheduler(client, dask_side.listed, *arguments)
                    return Answer(0, json.dumps(found), "")
                case _:
                    self._cancel(client, arguments)
                    return Answer(0, "", "")
        except Exception as error:  # whatever dask makes of a connection that is lost
            self.close()
            return Answer(None, "", f"{self._place} {_AWAY}: {_words(error)}")

    def _submit(self, client: Any, directory: Path, script: str, timeout_s: float) -> Answer:
        from distributed import fire_and_forget

        options = _read(directory / script)
        unknown = sorted({split(o)[0] for o in options} - {*_OWN, *_KNOWN})
        if unknown:
            why = f"dask knows no option {', '.join(unknown)}; there are {', '.join(_KNOWN)}"
            return Answer(1, "", why)
        given = {name: value for name, value in map(split, options) if name != "resources"}
        key = str(given["key"])
        asked, lacking = self._resources(client, options)
        if lacking:
            return Answer(1, "", lacking)
        limit = given.get("limit")
        workers = given.get("workers")
        future = client.submit(
            dask_side.execute,
            key,
            script,
            str(directory),
            given["log"],
            None if limit is None else parse_walltime(limit),
            key=key,
            pure=False,
            retries=0,
            priority=int(given.get("priority") or 0),
            resources=asked,
            workers=None if workers is None else workers.split(","),
        )
        fire_and_forget(future)
        # Held until the scheduler has it: one that has ended is forgotten with its last holder.
        until = time.monotonic() + timeout_s
        while not self._at_scheduler(client, dask_side.known, [key]):
            if time.monotonic() > until:
                return Answer(None, "", f"{self._place} did not take it within {timeout_s:g} s")
            time.sleep(0.01)
        return Answer(0, key, "")

    def _resources(self, client: Any, options: Sequence[str]) -> tuple[dict[str, float], str]:
        """What a task takes of what workers offer; and what none of them does, in words.

        Where workers say nothing of cores, each run is one of their threads; memory is looked
        after only where they say what they have.
        """
        asked = {}
        for name, value in map(split, options):
            if name == "resources":
                kind, _, amount = (value or "").partition("=")
                asked[kind] = float(amount or 1)
        offered = set(self._at_scheduler(client, dask_side.offered))
        if _CORES not in offered and asked.get(_CORES) == 1:
            del asked[_CORES]
        if _MEMORY not in offered:
            asked.pop(_MEMORY, None)
        for kind in sorted(asked.keys() - offered):
            why = f"no worker offers {kind}: start them with `dask worker --resources {kind}=N`"
            return {}, why
        return asked, ""

    def _cancel(self, client: Any, keys: Sequence[str]) -> None:
        from distributed import Future

        client.cancel([Future(key, client=client) for key in keys], force=True)

    def _at_scheduler(self, client: Any, function: Any, *arguments: Any) -> Any:
        return client.run_on_scheduler(function, *arguments)

    @property
    def _place(self) -> str:
        return f"the dask scheduler of {self._address or self._file}"

    def _connected(self, timeout_s: float) -> Any:
        """The client, connected; _Unreachable if it cannot be."""
        with self._connecting:
            if self._client is not None and self._client.status == "running":
                return self._client
            self._drop()
            if self._address is None and self._file is None:
                where = "dask_options: [scheduler=tcp://host:8786] in motoko.yaml"
                raise _Unreachable(f"no dask scheduler is named: say {where}")
            try:
                import cloudpickle
                from distributed import Client
            except ImportError as error:
                why = "the generator dask needs distributed: pip install 'motoko[dask]'"
                raise _Unreachable(why) from error
            cloudpickle.register_pickle_by_value(dask_side)
            try:
                self._client = Client(
                    self._address,
                    scheduler_file=self._file,
                    timeout=timeout_s,
                    set_as_default=False,
                    name="motoko",
                )
            except Exception as error:
                raise _Unreachable(f"{self._place} {_AWAY}: {_words(error)}") from error
            return self._client

    def close(self) -> None:
        with self._connecting:
            self._drop()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                client.close(timeout=2)


class _Unreachable(Exception):
    """There is nobody to ask."""


def _words(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _read(script: Path) -> list[str]:
    """The options that a script is to be submitted with."""
    lines = script.read_text().splitlines()
    return [line.removeprefix(_PREFIX).strip() for line in lines if line.startswith(_PREFIX)]


def _status(key: str, state: str, where: str) -> JobStatus:
    match state:
        case "executing" | "processing":
            return JobStatus(key, Phase.RUNNING, state, key, where)
        case "assigned":
            return JobStatus(key, Phase.PENDING, state, key, f"waits for a thread of {where}")
        case "no-worker":
            why = f"no worker offers {where}" if where else "there is no worker"
            return JobStatus(key, Phase.PENDING, state, key, why)
        case "queued":
            return JobStatus(key, Phase.PENDING, state, key, "all workers are busy")
        case "memory":
            return JobStatus(key, Phase.ENDED, state, key)
        case "erred":
            return JobStatus(key, Phase.ENDED, state, key, where, failure=INFRASTRUCTURE)
        case _:
            return JobStatus(key, Phase.PENDING, state, key)
