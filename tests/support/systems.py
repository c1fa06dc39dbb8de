"""Systems that runs are executed on, for tests that hold for every generator."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motoko.launch.tracking import Pace
from tests.support.fake_scheduler import Fake, install, put
from tests.support.network import is_free
from tests.support.waiting import wait_until

#: Asked so often that tests need not wait, and doubted for a time that they can wait for.
QUICK = Pace(
    least_s=0.2, most_s=1.0, confirm_s=2.0, unseen_s=4.0, word_s=5.0, record_s=0.5, bell_s=0.02
)


class System:
    """One of them."""

    def __init__(
        self, name: str, *, fake: Fake | None = None, directory: Path = Path()
    ) -> None:
        """``directory`` is where daemons keep their state."""
        self.name = name
        self.directory = directory
        #: What its daemons are started with.
        self.start_settings: Mapping[str, str] = {}
        self.fake = fake

    @property
    def settings(self) -> dict[str, Any]:
        """What a launcher is told."""
        return {"generator": self.name, "pace": QUICK, "max_concurrent": None}

    @property
    def is_batch(self) -> bool:
        """Whether there are jobs."""
        return self.name != "bash"

    def jobs(self) -> list[str]:
        """Ids of the jobs that it has, and that have not ended."""
        if self.fake is not None:
            alive = ("PENDING", "RUNNING")
            return [job_id for job_id, _, state, _ in self.fake.jobs() if state in alive]
        if self.name == "slurm":
            return _words("squeue", "-h", "-o", "%i")
        if self.name == "sge":
            return [line for line in _words("qstat", "-xml") if "JB_job_number" in line]
        return []

    def cancel(self, job_id: str) -> None:
        """Cancel a job by hand."""
        if self.fake is not None:
            self.fake.cancel([job_id])
        else:
            subprocess.run(["scancel" if self.name == "slurm" else "qdel", job_id], check=True)

    def resume(self) -> None:
        """Do what Slurm's administrator does with a node that it has drained."""
        (state,) = set(_words("sinfo", "-h", "-o", "%T"))
        if state.startswith("drain"):
            host = _words("sinfo", "-h", "-o", "%n")[0]
            subprocess.run(
                ["scontrol", "update", f"nodename={host}", "state=resume"], timeout=60
            )

    def restart_controller(self, number: signal.Signals) -> None:
        """End Slurm's controller by a signal, and start it again."""
        pid = int((self.directory / "run" / "slurmctld.pid").read_text())
        os.kill(pid, number)
        wait_until(lambda: not _is_there(pid))
        execute("start-slurm.sh", self.start_settings)


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _words(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


#: Where the daemons of the tests are, of which there may be one set for each worker.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_SCRIPTS = Path(__file__).parent / "schedulers"
_SGE = {"SGE_ROOT": "/var/lib/gridengine", "SGE_CELL": "default"}


def _free_ports(first: int, n_ports: int = 3) -> int:
    """The first of so many that nobody has; no other worker looks at the same."""
    candidates = range(first + 10 * _WORKER, 32_000, 100)
    return next(port for port in candidates if all(map(is_free, range(port, port + n_ports))))


class Daemons:
    """Real batch systems, started when they are first asked for; root may do that."""

    def __init__(self) -> None:
        self._slurm: dict[str, dict[str, str]] = {}
        self._has_sge = False

    @contextmanager
    def slurm(self, accounts: str) -> Iterator[System]:
        """Slurm, with accounts (``slurmdbd``) or without any (``none``)."""
        if accounts not in self._slurm:
            settings = {
                "SLURM_TEST_DIR": tempfile.mkdtemp(prefix="motoko-slurm-"),
                "SLURM_TEST_PORT": str(_free_ports(16817 + 5 * (accounts != "none"))),
                "SLURM_TEST_ACCT": accounts,
            }
            self._slurm[accounts] = settings
            execute("start-slurm.sh", settings)
        place = self._slurm[accounts]["SLURM_TEST_DIR"]
        with _variables({"SLURM_CONF": f"{place}/etc/slurm.conf"}):
            system = System("slurm", directory=Path(place))
            system.start_settings = self._slurm[accounts]
            yield system

    @contextmanager
    def sge(self) -> Iterator[System]:
        """Grid Engine, of which a machine has one: tests take turns."""
        with _turn(), _variables(_SGE):
            self._has_sge = True
            execute("start-sge.sh", _SGE)
            yield System("sge")

    def stop(self) -> None:
        """End all that was started."""
        for settings in self._slurm.values():
            execute("stop-slurm.sh", settings)
        if self._has_sge:
            with _turn():
                execute("stop-sge.sh", _SGE)


def execute(script: str, settings: Mapping[str, str]) -> None:
    """Run one of the scripts that start and stop daemons."""
    done = subprocess.run(
        [_SCRIPTS / script],
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout


@contextmanager
def _turn() -> Iterator[None]:
    with open("/var/lock/motoko-tests-sge", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def on_path(directory: Path) -> Iterator[None]:
    """Commands of a directory stand before all others."""
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{directory}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextmanager
def fake_system(directory: Path, name: str) -> Iterator[System]:
    """A batch system that does as it is told."""
    with on_path(install(directory, name)):
        fake = Fake(directory)
        system = System(name, fake=fake)
        yield system
        for job_id in system.jobs():
            system.cancel(job_id)
        for process in fake.started_again:
            process.wait(30)


def fake_of(system: System) -> Fake:
    """The stand-in behind a system that is one."""
    assert system.fake is not None
    return system.fake


def fault(system: System, name: str, times: int = 1) -> None:
    """Have a stand-in fail in the way that ``name`` names, so many times."""
    put(fake_of(system).place / name, str(times))
