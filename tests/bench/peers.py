"""The tools that a user would pick instead: installed apart, run as processes of their own.

Each has an environment in a cache directory, made when it is not there, with pinned versions.
They are spoken to by the scripts in ``peer_scripts`` through what their documentation says.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.bench.harness import usage

SCRIPTS = Path(__file__).parent / "peer_scripts"
REQUIREMENTS = {
    "motoko 0.1.4": ("motoko==0.1.4", "blackdynamite==1.3.9"),
    "parsl": ("parsl==2026.10.26",),
    "dask": ("distributed==2026.8.0", "dask==2026.8.0"),
}
_INSTALLING_S = 900
_RUNNING_S = 300
_MARK = "MOTOKO_BENCH_PEER"


class NotThere(Exception):
    """A peer that cannot be measured here, and why."""


class Peers:
    """The environments of the peers in one cache directory."""

    def __init__(self, cache: Path, *, may_install: bool = True) -> None:
        self._cache = cache
        self._may_install = may_install
        self.missing: dict[str, str] = {}

    def python(self, name: str) -> Path:
        """The interpreter of a peer's environment, which is made if need be; NotThere."""
        if name in self.missing:
            raise NotThere(self.missing[name])
        wanted = REQUIREMENTS[name]
        directory = self._cache / "-".join(wanted).replace("==", "-")
        python = directory / "bin" / "python"
        complete = directory / ".complete"
        if complete.exists():
            return python
        try:
            if not self._may_install:
                raise NotThere("not installed")
            print(f"installing {' '.join(wanted)} in {directory}", file=sys.stderr)
            shutil.rmtree(directory, ignore_errors=True)
            directory.parent.mkdir(parents=True, exist_ok=True)
            _install(directory, wanted)
            complete.touch()
        except (NotThere, OSError) as error:
            self.missing[name] = str(error)
            raise NotThere(str(error)) from error
        return python

    def parsl(self, kind: str, *, chain: int = 0, fan_out: int = 0) -> dict[str, float]:
        """What parsl's executor of this kind does with no-op bash runs."""
        return self._script("parsl", "parsl_runs.py", kind, chain, fan_out)

    def dask(self, *, chain: int = 0, fan_out: int = 0) -> dict[str, float]:
        """What dask does with no-op bash runs."""
        return self._script("dask", "dask_runs.py", chain, fan_out)

    def _script(self, peer: str, script: str, *arguments: object) -> dict[str, float]:
        return run_script(self.python(peer), script, *arguments, name=peer)

    def old_motoko(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """What the existing Motoko does: everything that is measured of it, in one go."""
        python = self.python("motoko 0.1.4")
        with _apart(python) as (directory, environment):
            shutil.copytree(SCRIPTS / "old_motoko", directory, dirs_exist_ok=True)
            found: dict[str, float] = {}

            def timed(key: str, *command: str, wait_s: float = _RUNNING_S) -> None:
                began = time.perf_counter()
                _call(command, directory, environment, wait_s, "motoko 0.1.4")
                found[key] = 1e3 * (time.perf_counter() - began)

            motoko = str(python.parent / "motoko")
            timed("create", motoko, "create", ".", "--validated")
            timed("launcher", motoko, "launcher")
            found["startup"] = (found["create"] + found["launcher"]) / 1e3
            options = [word for n, v in sizes.items() for word in (f"--{n}", str(v))]
            timed("all", motoko, "orchestrator", "start", "--run_name", "bench", *options)
            found |= json.loads((directory / "found.json").read_text())
            timed("info", motoko, "info")
            timed("help", motoko, "--help")
            processes = [usage(pid).pss for pid in _marked(environment[_MARK])]
            found["memory of a study"] = sum(processes) / 1e6 / 2
            return found


def run_script(
    python: Path | str, script: str, *arguments: object, name: str
) -> dict[str, float]:
    """What one of the scripts measures; NotThere if it fails."""
    with _apart(Path(python)) as (directory, environment):
        command = (str(python), str(SCRIPTS / script), *map(str, arguments))
        output = _call(command, directory, environment, _RUNNING_S, name)
        found: dict[str, float] = json.loads(output.splitlines()[-1])
        return found


@contextmanager
def _apart(python: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A directory and an environment; whatever was started there is ended."""
    directory = Path(tempfile.mkdtemp(prefix="motoko-bench-peer-"))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    path = f"{python.parent}:{os.environ.get('PATH', '')}"
    environment = {**inherited, "PATH": path, _MARK: directory.name}
    try:
        yield directory, environment
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in _marked(directory.name):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(0.2)
        shutil.rmtree(directory, ignore_errors=True)


def _marked(mark: str) -> list[int]:
    """The processes that were started with this mark in their environment."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            with suppress(OSError):
                if wanted in (directory / "environ").read_bytes().split(b"\0"):
                    found.append(int(directory.name))
    return found


def _call(
    command: tuple[str, ...],
    directory: Path,
    environment: dict[str, str],
    wait_s: float,
    name: str,
) -> str:
    output = directory / "bench-output"
    with output.open("w") as out, (directory / "bench-errors").open("w") as errors:
        # Files, not pipes: daemons that it leaves behind hold them open.
        try:
            done = subprocess.run(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                timeout=wait_s,
            )
        except subprocess.TimeoutExpired as error:
            raise NotThere(f"{name} took longer than {wait_s:g} s") from error
    if done.returncode:
        last = (directory / "bench-errors").read_text().strip().splitlines()[-1:]
        raise NotThere(f"{name}: exit code {done.returncode}: {' '.join(last)}")
    return output.read_text()


def _install(directory: Path, wanted: tuple[str, ...]) -> None:
    pip = [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(directory)],
        [*pip, "install", "--quiet", *wanted],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALLING_S)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise NotThere(f"cannot be installed: {lines[-1] if lines else done.returncode}")
