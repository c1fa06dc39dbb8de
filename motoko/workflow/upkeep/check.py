"""What can be found out about a workflow before anything of it starts.

Nothing is started, made or changed, and nothing that is found wrong hides what else there is.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from motoko.columns import RUN_ENTRIES
from motoko.config import (
    Examined,
    StudyConfig,
    WorkflowConfig,
    examine_study,
    examine_workflow,
)
from motoko.config.document import read_document
from motoko.config.fields import is_name
from motoko.errors import ConfigError, MotokoError, ReservedOption, UnknownGenerator
from motoko.job import layout
from motoko.launch.batch_generator import BatchGenerator
from motoko.launch.generator import Generator, LocalGenerator, find_generator, plain_name
from motoko.launch.rendering import asked_walltime_s, options_of
from motoko.launch.room import MOST_SUBMITTED
from motoko.launch.slots import available_cores
from motoko.paths import STUDY_FILE, STUDY_STATE, WORKFLOW_STATE
from motoko.phrases import closest, counted, listed, nearest
from motoko.store.address import socket_address
from motoko.study.files import MARKER, clashes, given_files, slips
from motoko.study.study import runs_dir, shared_places
from motoko.workflow import inspection
from motoko.workflow.pipelines.written import lack_of_systems, step_mistakes, written_pipeline

OK = "ok"
WARNING = "warning"
MISTAKE = "mistake"

#: What a marker may name besides the entries of jobs and runs.
_PLACES = ("run_id", "dbhost", "study", "run_path", "workflow", "exec")
_USUAL_SCRIPT = StudyConfig.exec_file
_OLDEST_PYTHON = (3, 8)
_LARGEST_TEXT = 1 << 24


class Finding(NamedTuple):
    """One thing that was looked at: how it is, what it is about, and the rest in words."""

    level: str
    about: str
    text: str


def check(directory: Path) -> Iterator[Finding]:
    """Look a workflow over: its files, orchestrator, commands, sockets and databases."""
    workflow = examine_workflow(directory)
    is_alone = workflow.config is not None and workflow.config.is_alone
    if not is_alone:
        yield from _configuration(workflow)
    if workflow.sound is not None:
        yield Finding(OK, workflow.sound.file.name, str(workflow.sound.file))
    directory = workflow.config.directory if workflow.config is not None else directory
    places = {n: _study_dir(directory, workflow, n) for n in _study_names(directory, workflow)}
    studies = {name: examine_study(place) for name, place in places.items()}
    for name, study in studies.items():
        yield from _configuration(study)
        found = [] if study.config is None else list(_study_files(study.config, study.wrong))
        yield from found
        if study.sound is not None and study.sound.study != name:
            text = (
                f"{study.sound.file} calls it {study.sound.study!r}: commands and orchestrators"
                f" say {name!r}, as motoko.yaml does; runs lie in BD-{study.sound.study}-runs"
            )
            yield Finding(WARNING, f"study {name}", text)
        if study.sound is not None and not found:
            yield Finding(OK, f"study {name}", _described(study.sound))
    sound_ones = [study.sound for study in studies.values() if study.sound is not None]
    for mistake in shared_places(sound_ones):
        yield Finding(MISTAKE, "configuration", str(mistake))
    for config in sound_ones:
        yield from _cores(config)
        yield from _unwarned(config, workflow.sound)
    if not is_alone and workflow.config is not None and _is_known(workflow, "orchestrator"):
        yield from _orchestrator(workflow.config)
    if workflow.sound is not None and workflow.sound.pipeline is not None:
        yield from _pipeline(workflow.sound, sound_ones)
    yield from _generators(workflow, studies.values())
    yield from _python()
    yield from _places(directory, list(places.values()))
    if workflow.config is not None and "task_managers" not in workflow.wrong:
        doubtful = {mistake.key for mistake in workflow.mistakes}
        sound = {
            name: study.sound
            for name, study in studies.items()
            if study.sound and f"task_managers.{name}.host" not in doubtful
        }
        for level, about, text in inspection.databases(workflow.config, sound):
            yield Finding(level, about, text)


def is_good(findings: Sequence[Finding]) -> bool:
    """Whether there is no mistake among them."""
    return all(finding.level != MISTAKE for finding in findings)


def _configuration(examined: Examined[Any]) -> Iterator[Finding]:
    for level, texts in ((MISTAKE, examined.mistakes), (WARNING, examined.warnings)):
        for text in texts:
            yield Finding(level, "configuration", str(text))


def _study_names(directory: Path, workflow: Examined[WorkflowConfig]) -> list[str]:
    """The workflow's studies; when that cannot be known, what looks like some."""
    if workflow.config is not None and workflow.config.is_alone:
        return list(workflow.config.task_managers)
    if workflow.config is not None:
        named = workflow.config.get("task_managers")
        if isinstance(named, Mapping):
            return [name for name in named if is_name(name)]
    with suppress(OSError):
        return sorted(p.parent.name for p in directory.glob(f"*/{STUDY_FILE}"))
    return []


def _study_dir(directory: Path, workflow: Examined[WorkflowConfig], name: str) -> Path:
    return directory / name if workflow.config is None else workflow.config.study_dir(name)


def _described(study: StudyConfig) -> str:
    values = listed(f"{name}: {field.type}" for name, field in study.job.items())
    return f"jobs have {values}; runs execute {study.exec_file}"


# files of a study


def _study_files(study: StudyConfig, wrong: Collection[str]) -> Iterator[Finding]:
    about = f"study {study.directory.name}"
    script = study.directory / study.exec_file
    scripts = [] if "exec_file" in wrong else [script]
    files = [*scripts, *(file for file in given_files(study) if file != script)]
    values = _value_names(study)
    for mistake in clashes(study):
        yield Finding(MISTAKE, about, str(mistake))
    if not {"study", "outpath"} & set(wrong):
        yield from _runs_of_another_name(about, study)
    for file in files:
        if file.name in (layout.FINISHED, layout.FAILED) or file.name.startswith(layout.PREFIX):
            text = f"{file}: in a run directory this name is Motoko's own; rename it"
            yield Finding(MISTAKE, about, text)
    if study.outpath is not None and "outpath" not in wrong:
        yield from _outpath(about, study, study.directory / study.outpath)
    for file in dict.fromkeys(files):
        if not _is_there(file):
            key = "exec_file" if file == script else "config_files"
            needed = f"{key} of {study.file} names it, and every run needs it"
            if file == script and study.exec_file == _USUAL_SCRIPT:
                needed = (
                    f"every run executes it, unless exec_file of {study.file} names another"
                )
            yield Finding(MISTAKE, about, f"{file}: no such file; {needed}")
        elif not file.is_file() or not os.access(file, os.R_OK):
            yield Finding(MISTAKE, about, f"{file}: is not a file that can be read")
        elif values is not None:
            yield from _markers(about, file, values)
    if scripts and _is_there(script) and script.is_file():
        if (line := _line_end_of_windows(script)) is not None:
            remedy = f"sed -i 's/\\r$//' {shlex.quote(str(script))}"
            text = (
                f"{script}:{line}: ends as lines do on Windows; bash takes the invisible sign"
                f" there for a part of the command. `{remedy}` removes all of them"
            )
            yield Finding(WARNING, about, text)
        elif problem := inspection.syntax_problem(script):
            yield Finding(WARNING, about, f"{script}: bash finds it wrong: {problem}")


def _runs_of_another_name(about: str, study: StudyConfig) -> Iterator[Finding]:
    """Runs that a study in this directory has left, which had another name."""
    place = Path(os.path.realpath(runs_dir(study)))
    if _is_there(place) or not place.is_relative_to(os.path.realpath(study.directory)):
        return  # outside of it, other studies have theirs beside it
    for other in sorted(place.parent.glob("BD-*-runs")):
        if next(other.glob("run-*"), None) is not None:
            move = f"mv {shlex.quote(str(other))} {shlex.quote(str(place))}"
            text = (
                f"{other} has directories of runs, and those of {study.study} are looked for in"
                f" {place}, which is not there. If the study was renamed, end what runs and"
                f" `{move}`; else put that elsewhere"
            )
            yield Finding(WARNING, about, text)


def _line_end_of_windows(script: Path) -> int | None:
    """The first line with such an end, counted from one."""
    with suppress(OSError), script.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\r\n"):
                return number
    return None


def _outpath(about: str, study: StudyConfig, place: Path) -> Iterator[Finding]:
    nearest_dir = next(p for p in (place, *place.parents) if _is_there(p))
    key = f"outpath: {study.outpath} of {study.file} puts run directories there"
    if not nearest_dir.is_dir():
        yield Finding(MISTAKE, about, f"{nearest_dir}: is no directory; {key}")
    elif (problem := inspection.writing_problem(nearest_dir)) is not None:
        text = f"{nearest_dir}: cannot be written to ({problem}); {key}"
        yield Finding(MISTAKE, about, text)


def _is_there(file: Path) -> bool:
    return os.access(file, os.F_OK)  # false also for names that no file can have


def _value_names(study: StudyConfig) -> dict[str, bool] | None:
    """What markers may name, and whether that has a value whatever a task gives; None when the
    file does not say it in the proper form."""
    names = dict.fromkeys((*RUN_ENTRIES, *_PLACES), True)
    for section in ("job", "run", "run_params", "run_space"):
        declared = study.get(section) or {}
        if not isinstance(declared, Mapping):
            return None
        for name, field in declared.items():
            has_value = section != "run" or _has_default(field)
            names[str(name).lower()] = names.get(str(name).lower(), False) or has_value
    return names


def _has_default(field: Any) -> bool:
    return isinstance(field, Mapping) and field.get("default") is not None


def _markers(about: str, file: Path, known: Mapping[str, bool]) -> Iterator[Finding]:
    if file.stat().st_size > _LARGEST_TEXT:
        return
    content = file.read_bytes()
    if b"\0" in content[:65536]:
        return
    for slip in slips(content):
        meant = f"did you mean __BLACKDYNAMITE__{closest(slip.word, known) or slip.word}__?"
        yield Finding(WARNING, about, f"{file}:{slip.line}: {slip}; {meant}")
    for found in MARKER.finditer(content):
        name = found.group(1).decode()
        if not known.get(name):
            why = (
                ": `run` declares it without a default"
                if name in known
                else nearest(name, known)
            )
            line = content.count(b"\n", 0, found.start()) + 1
            text = f"{file}:{line}: marker {name!r} has no value unless a task gives it{why}"
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


def _is_known(workflow: Examined[WorkflowConfig], key: str) -> bool:
    """Whether a key has no mistake; a pipeline stands for an orchestrator that is not named."""
    assert workflow.config is not None
    if key in workflow.wrong or "pipeline" not in workflow.wrong:
        return key not in workflow.wrong
    return key in read_document(workflow.config.file, "").data


def _pipeline(config: WorkflowConfig, studies: Iterable[StudyConfig]) -> Iterator[Finding]:
    try:
        found = written_pipeline(config)
        by_place = {study.directory: study for study in studies}
        places = {name: config.study_dir(name) for name in config.task_managers}
        known = {name: by_place[p] for name, p in places.items() if p in by_place}
        if mistakes := list(step_mistakes(config, found, known)):
            raise ConfigError(mistakes)
    except ConfigError as error:
        yield from (Finding(MISTAKE, "pipeline", str(mistake)) for mistake in error.mistakes)
    except (MotokoError, OSError) as error:
        yield Finding(MISTAKE, "pipeline", str(error))
    else:
        names = listed(step.name for step in found.pipeline)
        if found.systems is not None and not found.systems:
            yield Finding(WARNING, "pipeline", f"{names}: {lack_of_systems(config)}")
            return
        n_systems = (
            "" if found.systems is None else f" for {counted(len(found.systems), 'system')}"
        )
        yield Finding(OK, "pipeline", f"{names}{n_systems}")


def _cores(study: StudyConfig) -> Iterator[Finding]:
    n_cores = available_cores()
    wanted = [study.nproc or 1]
    for given in (study.run_params.get("nproc"), study.run_space.get("nproc")):
        wanted += given if isinstance(given, list) else [given or 1]
    most = max(wanted)
    if most > n_cores:
        have = f"{n_cores} core" if n_cores == 1 else f"{n_cores} cores"
        text = f"nproc: {most} is more than the {have} of this machine; each such run is alone"
        yield Finding(WARNING, f"study {study.directory.name}", text)


def _unwarned(study: StudyConfig, workflow: WorkflowConfig | None) -> Iterator[Finding]:
    """That a signal is to come before the end of a time which nobody gives."""
    row = {**study.run_space, **study.run_params}
    if study.checkpoint_signal is None or (row.get("walltime") or study.walltime) is not None:
        return
    generator = _generator_of(study, workflow)
    of_job = ""
    if isinstance(generator, BatchGenerator):
        with suppress(ValueError):  # which is said when a script is written
            if asked_walltime_s(study, generator, row) is not None:
                return
            if generator.walltime_s(options_of(study, generator, row)) is not None:
                of_job = f" ({generator.name}_options give the one of the job of packed runs)"
    text = (
        f"{study.file}: checkpoint_signal does not come, since no walltime is given{of_job}:"
        " write `walltime:` beside it, unless tasks give theirs"
    )
    yield Finding(WARNING, f"study {study.directory.name}", text)


def _generator_of(study: StudyConfig, workflow: WorkflowConfig | None) -> Generator | None:
    """How runs of a study are executed; None if that cannot be told."""
    name = study.generator or (workflow.generator if workflow is not None else None)
    if name is None:
        return None
    options = workflow.options.get(plain_name(name), ()) if workflow is not None else ()
    with suppress(UnknownGenerator, ReservedOption):  # which is said of the file
        return find_generator(name, options)
    return None


def _generators(
    workflow: Examined[WorkflowConfig], studies: Iterable[Examined[StudyConfig]]
) -> Iterator[Finding]:
    files: list[Examined[Any]] = [workflow, *studies]
    chosen = [(f.config.generator, f.wrong) for f in files if f.config is not None]
    names = dict.fromkeys(name for name, wrong in chosen if name and "generator" not in wrong)
    for file in files:
        for name, options in file.config.options.items() if file.config is not None else ():
            try:
                find_generator(name, options)
            except UnknownGenerator:
                pass  # which is said of the file
            except ReservedOption as error:
                yield Finding(MISTAKE, f"{name}_options", str(error))
    for name in names:
        about = f"generator {name}"
        try:
            options = workflow.config.options.get(name, ()) if workflow.config else ()
            found = find_generator(name, options)
        except UnknownGenerator as error:
            yield Finding(MISTAKE, about, str(error))
            continue
        except ReservedOption:
            found = find_generator(name)  # which is said of the file
        if (problem := found.problem()) is not None:
            yield Finding(MISTAKE, about, problem)
            continue
        commands = found.required_commands()
        missing = [c for c in commands if inspection.find_command(c) is None]
        for command in missing:
            yield Finding(MISTAKE, about, f"{command} is not on the PATH; runs need it")
        if not missing:
            at_once = _at_once(workflow.config, is_local=isinstance(found, LocalGenerator))
            programs = f"; found {listed(commands)}" if commands else ""
            yield Finding(OK, about, f"{at_once} at once{programs}")


def _at_once(config: WorkflowConfig | None, *, is_local: bool) -> str:
    limits = (
        (config.max_concurrent, None if is_local else config.max_submitted) if config else ()
    )
    most = min((limit for limit in limits if limit is not None), default=None)
    if is_local:
        return (
            f"up to {most} runs"
            if most
            else f"as many runs as fit on {available_cores()} cores"
        )
    return f"up to {most or MOST_SUBMITTED} jobs"


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


def _places(directory: Path, study_dirs: Sequence[Path]) -> Iterator[Finding]:
    if not directory.is_dir():
        return
    present = [place for place in study_dirs if place.is_dir()]
    for place in (directory, *present):
        if not os.access(place, os.W_OK | os.X_OK):
            text = f"{place} cannot be written to; databases and runs lie in it"
            yield Finding(MISTAKE, "directory", text)
    state_dirs = [directory / WORKFLOW_STATE, *(place / STUDY_STATE for place in present)]
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
