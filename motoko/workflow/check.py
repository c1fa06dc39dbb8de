"""What can be found out about a workflow before anything of it starts.

Nothing is started, made or changed, and nothing that is found wrong hides what else there is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from motoko.columns import RUN_ENTRIES
from motoko.config import (
    StudyConfig,
    WorkflowConfig,
    read_study,
    read_workflow,
)
from motoko.errors import ConfigError, Mistake, UnknownGenerator, listed, nearest
from motoko.launch.generator import find_generator
from motoko.launch.slots import available_cores
from motoko.paths import STUDY_FILE, STUDY_STATE, WORKFLOW_STATE
from motoko.store.address import socket_address
from motoko.study.files import MARKER
from motoko.workflow import inspection

OK = "ok"
WARNING = "warning"
MISTAKE = "mistake"

#: What a marker may name besides the entries of jobs and runs.
_PLACES = ("run_id", "dbhost", "study", "run_path", "workflow", "exec")
_OLDEST_PYTHON = (3, 8)
_LARGEST_TEXT = 1 << 24


class Finding(NamedTuple):
    """One thing that was looked at: how it is, what it is about, and the rest in words."""

    level: str
    about: str
    text: str


def check(directory: Path) -> Iterator[Finding]:
    """Look a workflow over: its files, orchestrator, commands, sockets and databases."""
    config: WorkflowConfig | None = None
    try:
        config = read_workflow(directory)
    except ConfigError as error:
        yield from _mistakes(error.mistakes)
    else:
        yield Finding(OK, "motoko.yaml", str(config.file))
        yield from _warnings(config.warnings)
    directory = config.directory if config is not None else directory
    studies: dict[str, StudyConfig] = {}
    for name in _study_names(directory, config):
        try:
            study = studies[name] = read_study(directory / name)
        except ConfigError as error:
            yield from _mistakes(error.mistakes)
            continue
        yield from _warnings(study.warnings)
        found = list(_study_files(study))
        yield from found
        if not found:
            yield Finding(OK, f"study {name}", _described(study))
    if config is not None:
        yield from _orchestrator(config)
        yield from _generators(config, studies)
    yield from _python()
    yield from _places(directory, studies)
    if config is not None and len(studies) == len(config.task_managers):
        for level, about, text in inspection.databases(config.file):
            yield Finding(level, about, text)


def is_good(findings: Sequence[Finding]) -> bool:
    """Whether there is no mistake among them."""
    return all(finding.level != MISTAKE for finding in findings)


def _mistakes(mistakes: Sequence[Mistake]) -> Iterator[Finding]:
    for mistake in mistakes:
        yield Finding(MISTAKE, "configuration", str(mistake))


def _warnings(mistakes: Sequence[Mistake]) -> Iterator[Finding]:
    for mistake in mistakes:
        yield Finding(WARNING, "configuration", str(mistake))


def _study_names(directory: Path, config: WorkflowConfig | None) -> list[str]:
    """The workflow's studies; when that cannot be known, what looks like some."""
    if config is not None:
        return list(config.task_managers)
    with suppress(OSError):
        return sorted(p.parent.name for p in directory.glob(f"*/{STUDY_FILE}"))
    return []


def _described(study: StudyConfig) -> str:
    values = listed(f"{name}: {field.type}" for name, field in study.job.items())
    return f"jobs have {values}; runs execute {study.exec_file}"


# files of a study


def _study_files(study: StudyConfig) -> Iterator[Finding]:
    about = f"study {study.directory.name}"
    script = study.directory / study.exec_file
    given = [study.directory / name for name in study.config_files]
    program = study.directory / "doIt.py"
    files = [script, *given, *([program] if program.exists() else [])]
    yield from _clashes(about, files)
    for file in dict.fromkeys(files):
        if not file.exists():
            key = "exec_file" if file == script else "config_files"
            allowed = f"{key} of {study.file} names it, and every run needs it"
            yield Finding(MISTAKE, about, f"{file}: no such file; {allowed}")
        elif not file.is_file() or not os.access(file, os.R_OK):
            yield Finding(MISTAKE, about, f"{file}: is not a file that can be read")
        else:
            yield from _markers(about, file, study)
    if script.is_file():
        problem = inspection.syntax_problem(script)
        if problem:
            yield Finding(WARNING, about, f"{script}: bash finds it wrong: {problem}")


def _clashes(about: str, files: Sequence[Path]) -> Iterator[Finding]:
    first: dict[str, Path] = {}
    for file in files:
        other = first.setdefault(file.name, file)
        if other.resolve() != file.resolve():
            text = (
                f"{other} and {file} would both be {file.name} in a run directory; rename one"
            )
            yield Finding(MISTAKE, about, text)


def _markers(about: str, file: Path, study: StudyConfig) -> Iterator[Finding]:
    if file.stat().st_size > _LARGEST_TEXT:
        return
    content = file.read_bytes()
    if b"\0" in content[:65536]:
        return
    known = {
        *study.job,
        *study.run,
        *RUN_ENTRIES,
        *_PLACES,
        *(str(name).lower() for name in (*study.run_params, *study.run_space)),
    }
    for found in MARKER.finditer(content):
        name = found.group(1).decode()
        if name not in known:
            line = content.count(b"\n", 0, found.start()) + 1
            text = (
                f"{file}:{line}: marker {name!r} has no value unless a task gives it"
                f"{nearest(name, known)}"
            )
            yield Finding(WARNING, about, text)


# orchestrator, programs, places


def _orchestrator(config: WorkflowConfig) -> Iterator[Finding]:
    problem, n_options = inspection.try_orchestrator(config.directory, config.orchestrator)
    if problem:
        yield Finding(MISTAKE, "orchestrator", problem)
        return
    s = "" if n_options == 1 else "s"
    options = f", with {n_options} option{s} of its own" if n_options else ""
    yield Finding(OK, "orchestrator", f"{config.orchestrator} is async{options}")


def _generators(config: WorkflowConfig, studies: dict[str, StudyConfig]) -> Iterator[Finding]:
    names = dict.fromkeys([config.generator, *(s.generator for s in studies.values())])
    for name in names:
        if name is None:
            continue
        about = f"generator {name}"
        try:
            commands = find_generator(name).required_commands()
        except UnknownGenerator as error:
            yield Finding(MISTAKE, about, str(error))
            continue
        missing = [c for c in commands if inspection.find_command(c) is None]
        for command in missing:
            yield Finding(MISTAKE, about, f"{command} is not on the PATH; runs need it")
        if not missing:
            n_cores = available_cores()
            most = config.max_concurrent
            at_once = (
                f"up to {most} runs" if most else f"as many runs as fit on {n_cores} cores"
            )
            yield Finding(OK, about, f"{at_once} at once; found {listed(commands)}")


def _python() -> Iterator[Finding]:
    found = inspection.script_python()
    about = "python3 of scripts"
    if found is None:
        text = "there is none on the PATH: scripts that call it will fail"
        yield Finding(WARNING, about, text)
    elif found.version is None:
        yield Finding(WARNING, about, f"{found.path} does not work: {found.problem}")
    elif found.version < _OLDEST_PYTHON:
        shown = ".".join(map(str, found.version))
        text = f"{found.path} is version {shown}; motoko.get_run() needs 3.8 or later"
        yield Finding(WARNING, about, text)
    else:
        shown = ".".join(map(str, found.version))
        yield Finding(OK, about, f"{found.path}, version {shown}")


def _places(directory: Path, studies: dict[str, StudyConfig]) -> Iterator[Finding]:
    if not directory.is_dir():
        return
    for place in (directory, *(study.directory for study in studies.values())):
        if not os.access(place, os.W_OK | os.X_OK):
            text = f"{place} cannot be written to; databases and runs lie in it"
            yield Finding(MISTAKE, "directory", text)
    state_dirs = [directory / WORKFLOW_STATE]
    state_dirs += [study.directory / STUDY_STATE for study in studies.values()]
    elsewhere = set()
    for state_dir in state_dirs:
        path = socket_address(state_dir).path
        if path is not None and path.parent != state_dir.absolute():
            elsewhere.add(str(path.parent))
    if elsewhere:
        why = "the path is too long for one, or the file system has none"
        text = f"lie in the private directory {listed(sorted(elsewhere))}: {why}"
        yield Finding(OK, "sockets", text)
    else:
        yield Finding(OK, "sockets", "fit into the workflow's own directories")
