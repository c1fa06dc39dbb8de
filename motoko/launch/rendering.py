"""What a batch system is given for an attempt: what it asks for, and its script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motoko.config.fields import texts
from motoko.errors import SubmissionFailed
from motoko.job import layout
from motoko.launch.attempt import Attempt
from motoko.launch.batch_generator import BatchGenerator, Shape
from motoko.launch.bells import Bells
from motoko.launch.environment import Environment
from motoko.launch.jobscript import JobScript
from motoko.launch.resources import resources_of
from motoko.study.study import Study

if TYPE_CHECKING:
    from motoko.config import StudyConfig


def shape_of(study: Study, generator: BatchGenerator, attempt: Attempt) -> Shape:
    """What the job of an attempt asks for: ValueError, ReservedOption for what cannot be."""
    name, dialect = generator.name, generator.dialect
    own = texts(attempt.row.get(f"{name}_options"))
    dialect.check(own, f"{name}_options of run {attempt.title}")
    options = options_of(study.config, generator, attempt.row)
    is_asked = generator.walltime_s(options) is not None
    walltime_s = None if is_asked else attempt.walltime.limit_s
    return Shape(resources_of(study.config, attempt.row, walltime_s), options)


def asked_walltime_s(
    config: StudyConfig, generator: BatchGenerator, row: Mapping[str, Any]
) -> float | None:
    """How long a run may take by the options of its job: infinite where they ask for no limit.

    None where they do not say; nor do they of runs that are packed, since theirs is the time of
    the job that these share. ValueError for options that cannot be.
    """
    is_packed = (config.pack or 1) > 1
    return None if is_packed else generator.walltime_s(options_of(config, generator, row))


def options_of(
    config: StudyConfig, generator: BatchGenerator, row: Mapping[str, Any]
) -> tuple[str, ...]:
    """All options that a run is submitted with; its own stand above those of its study.

    ValueError when its own are none.
    """
    key = f"{generator.name}_options"
    of_study = config.options.get(generator.name, ())
    return generator.dialect.merged(generator.options, of_study, texts(row.get(key)))


def job_script(
    study: Study, environment: Environment, attempt: Attempt, generation: str
) -> JobScript:
    """The script of an attempt. SubmissionFailed when its variables cannot be."""
    run_dir, run_name = attempt.run_dir, str(attempt.row["run_name"])
    if "\n" in run_dir:
        why = "no batch system takes a directory with a line end in its name"
        raise SubmissionFailed(attempt.title, why, transient=False)
    return JobScript(
        title=attempt.title,
        run_dir=run_dir,
        exec_file=attempt.exec_file or study.config.exec_file,
        attempt=attempt.number,
        nonce=attempt.nonce,
        generation=generation,
        output_file=layout.output_file(run_dir, run_name, attempt.run_id),
        error_file=layout.error_file(run_dir, run_name, attempt.run_id),
        bell=Bells.path(study.runs_dir, attempt.run_id, attempt.nonce),
        variables=environment.own_of_run(
            attempt.run_id, attempt.row, run_dir, attempt.number, attempt.before
        ),
        python_path=environment.python_path,
        path=environment.path,
        n_threads=attempt.nproc,
        warning=attempt.notice and attempt.notice.warning(),
    )


def render(generator: BatchGenerator, script: JobScript, name: str, shape: Shape) -> str:
    """The text that is submitted."""
    directives = generator.directives(name, shape, layout.scheduler_log(script.attempt))
    script = script._replace(modules=shape.resources.modules)
    return script.text(generator.lines(directives), generator.name)
