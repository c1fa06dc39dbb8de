"""Studies with a real database server, for tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from motoko.config import read_study
from motoko.store.server import Served, Server
from motoko.study.study import Study

ROOT = Path(__file__).parents[2]
BD_YAML = """\
study: {name}
job: {{x: float, n: int, s: str, flag: bool}}
run: {{norm: float, method: str}}
job_space: {{n: 1}}
"""


def write_study(directory: Path, yaml: str | None = None, script: str = "true\n") -> Path:
    """A study's directory with its two files."""
    directory.mkdir(parents=True, exist_ok=True)
    text = BD_YAML.format(name=directory.name) if yaml is None else yaml
    (directory / "bd.yaml").write_text(text)
    (directory / "launch.sh").write_text(script)
    return directory


def open_study(directory: Path) -> Study:
    """The study in a directory, as another process would open it."""
    return Study(read_study(directory), directory.name, host=None, workflow_file=None)


@contextmanager
def served(*studies: Study) -> Iterator[Server]:
    """Serve studies from threads of this process."""
    server = Server([Served(study.database_file, study.address) for study in studies])
    server.start()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def server_process(*studies: Study) -> Iterator[subprocess.Popen[str]]:
    """Serve studies from a process of its own, which tests may kill."""
    places = [str(p) for s in studies for p in (s.database_file, s.address.path)]
    command = [sys.executable, "-m", "tests.support.serve", *places]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def running_study(directory: Path, yaml: str | None = None) -> Iterator[Study]:
    """A new study with an empty, served database."""
    study = open_study(write_study(directory, yaml))
    with served(study):
        study.initialise()
        try:
            yield study
        finally:
            study.close()
