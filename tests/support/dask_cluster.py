"""A real dask cluster of local processes, as a system that runs are executed on."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motoko.launch.dask import Dask
from tests.support.systems import System, execute

_START, _STOP = "start-dask.sh", "stop-dask.sh"


class DaskCluster(System):
    """Two workers with two cores each, until `stop`."""

    def __init__(self) -> None:
        super().__init__("dask", directory=Path(tempfile.mkdtemp(prefix="motoko-dask-")))
        self.start_settings = {
            "DASK_TEST_DIR": str(self.directory),
            "DASK_TEST_PYTHON": sys.executable,
        }
        execute(_START, self.start_settings)
        said = json.loads((self.directory / "scheduler.json").read_text())
        self.option = f"scheduler={said['address']}"

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "options": {"dask": [self.option]}}

    def jobs(self) -> list[str]:
        with self._adapter() as adapter:
            answer = adapter.ask(adapter.status_command("me"), 20)
            return [job for job in adapter.parse_status(answer.output) if job != "scheduler"]

    def cancel(self, job_id: str) -> None:
        with self._adapter() as adapter:
            assert adapter.ask(adapter.cancel_command([job_id]), 20).is_good

    def worker_pid(self, name: str) -> int:
        """The process of a worker, whose child executes tasks."""
        return int((self.directory / f"{name}.pid").read_text())

    def stop(self) -> None:
        """End all of it."""
        execute(_STOP, self.start_settings)

    @contextmanager
    def _adapter(self) -> Iterator[Dask]:
        adapter = Dask([self.option])
        try:
            yield adapter
        finally:
            adapter.close()


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task")
    found = (task / "children" for task in tasks.iterdir())
    return [int(child) for file in found for child in file.read_text().split()]


def is_there(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
