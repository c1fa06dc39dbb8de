"""Trying things out beside this process, so that their side effects do not matter."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from motoko.config import StudyConfig, WorkflowConfig
from motoko.config.fields import is_tcp
from motoko.daemon import Office
from motoko.errors import DatabaseRefused, ForeignOwner, MotokoError
from motoko.paths import WORKFLOW_STATE
from motoko.store import tls
from motoko.store.address import tcp_address
from motoko.study.study import Study
from motoko.workflow import opening, places

_IMPORT_S = 60.0
_COMMAND_S = 10.0
_PROBE = "import sys; from motoko.workflow.probe import answer; answer(*sys.argv[1:])"


class Python(NamedTuple):
    """A Python that scripts may find; its version is None when it does not work."""

    path: str
    version: tuple[int, ...] | None
    problem: str = ""


def try_orchestrator(directory: Path, orchestrator: str) -> tuple[str, int]:
    """Import the orchestrator in a process of its own.

    What is wrong with it, in words (empty: nothing), and how many options it adds.
    """
    reader, writer = os.pipe()
    command = [sys.executable, "-c", _PROBE, str(directory), orchestrator, str(writer)]
    environment = {**os.environ, "PYTHONPATH": _import_path()}
    try:
        with open(reader, encoding="utf-8") as answers:
            try:
                done = subprocess.run(
                    command,
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    pass_fds=(writer,),
                    timeout=_IMPORT_S,
                )
            except subprocess.TimeoutExpired:
                return f"importing {orchestrator} takes longer than {_IMPORT_S:g} s", 0
            finally:
                os.close(writer)
            text = answers.read()
    except OSError as error:
        return f"cannot try {orchestrator}: {error}", 0
    if not text:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        ending = f"importing {orchestrator} ends its process (code {done.returncode})"
        return f"{ending}: {said[-1]}" if said else ending, 0
    found = json.loads(text)
    return str(found["problem"]), int(found["n_options"])


def _import_path() -> str:
    """Where this package lies, before what was there."""
    ours = str(Path(__file__).resolve().parents[2])
    before = os.environ.get("PYTHONPATH")
    return f"{ours}{os.pathsep}{before}" if before else ours


def writing_problem(directory: Path) -> str | None:
    """Why no directory can be made in this one, in words; it is tried, and left no trace of.

    The mode says it neither to root nor of file systems that are no place for files, as /proc.
    """
    try:
        Path(tempfile.mkdtemp(prefix=".motoko-", dir=directory)).rmdir()
    except OSError as error:
        return error.strerror or str(error)
    return None


def find_command(name: str) -> str | None:
    """The path of a program, if it is there."""
    return shutil.which(name)


def script_python() -> Python | None:
    """The ``python3`` that scripts find; None when there is none."""
    path = shutil.which("python3")
    if path is None:
        return None
    ask = "import sys; print(sys.version_info[:3])"
    done = _output([path, "-c", ask])
    numbers = re.findall(r"\d+", done.stdout) if done.returncode == 0 else []
    if len(numbers) != 3:
        said = (done.stderr or done.stdout).strip().splitlines()
        return Python(path, None, said[-1] if said else f"it ended with code {done.returncode}")
    return Python(path, tuple(map(int, numbers)))


def syntax_problem(script: Path) -> str:
    """What bash says about the syntax of a script; empty when it is content."""
    bash = shutil.which("bash")
    if bash is None:
        return ""
    said = _output([bash, "-n", str(script)])
    lines = said.stderr.strip().splitlines() if said.returncode else []
    return lines[0].removeprefix(f"{script}: ") if lines else ""


def _output(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_S,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


# databases


def databases(
    config: WorkflowConfig, studies: Mapping[str, StudyConfig]
) -> Iterator[tuple[str, str, str]]:
    """Level, name and condition of each database and of the process that holds them."""
    office = places.server_office_in(config.directory / WORKFLOW_STATE)
    server = office.owner()
    is_far = config.host is not None and not tcp_address(config.host).is_here
    if server is not None and not server.is_here and not is_far:
        yield "mistake", "server", str(ForeignOwner(office.what, str(server)))
    else:
        yield "ok", "server", f"runs: {server}" if server else "does not run"
    for lack in _lacking_certificates(config):
        yield "mistake", "certificates", lack
    for name, study_config in studies.items():
        study = Study(
            study_config,
            name,
            host=config.host_of(name),
            workflow_file=config.file,
            certificates=config.certificates_for(name),
        )
        try:
            yield _database(study, f"database {name}", office)
        finally:
            study.close()


def _lacking_certificates(config: WorkflowConfig) -> Iterator[str]:
    hosts_of = {name: config.host_of(name) for name in config.task_managers}
    hosts = {(config.host, config.certificates_for())} | {
        (host, config.certificates_for(name)) for name, host in hosts_of.items()
    }
    found = set()
    for host, certificates in hosts:
        if host is None or not is_tcp(host):
            continue
        address = tcp_address(host)._replace(certificates=certificates)
        try:
            tls.client_context(address)
            if address.is_here:
                tls.server_context(address)
        except DatabaseRefused as error:
            found.add(error.why)
    yield from sorted(found)


def _database(study: Study, about: str, server: Office) -> tuple[str, str, str]:
    try:
        if study.is_served_here and not study.is_created:
            return "ok", about, "not made yet; `motoko create` or `motoko run` does that"
        opening.open_study(study, server)
        schema, n_runs, n_jobs = study.ask(lambda t: (t.schema, t.n_runs, t.n_jobs))
        study.schema.changes_since(schema).check(study.migrate_command)
        return "ok", about, f"{n_runs} runs of {n_jobs} jobs"
    except MotokoError as error:
        return "mistake", about, str(error)
