"""``motoko launcher``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from motoko.cli import daemons, logs, reading, words
from motoko.cli.defaulting import DefaultGroup
from motoko.cli.interrupts import Interrupts
from motoko.cli.own_options import TAKEOVER
from motoko.cli.places import directory_argument, find_directory, load_workflow, study_names
from motoko.cli.side_by_side import start_side_by_side
from motoko.paths import LAUNCHER_LOG, WORKFLOW_STATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motoko.launch.preview import Preview
    from motoko.workflow.workflow import Workflow

_studies = click.option(
    "--bd_study", "studies", metavar="NAME", multiple=True, help="Only this study's runs."
)
_generator = click.option(
    "--generator", metavar="NAME", help="How runs are executed: bash, slurm, sge, pbs."
)

_takeover = click.option("--takeover", is_flag=True, help=TAKEOVER)


@click.group(cls=DefaultGroup)
def command() -> None:
    """The process that turns created runs into processes or batch jobs.

    Without a further word it is started: `motoko launcher [DIR] [--bd_study NAME]
    [--generator NAME] [--do_not_detach] [--takeover] [--dry-run] [--log] [--stop] [--status]`.
    """


@command.command()
@directory_argument
@_studies
@_generator
@click.option("--do_not_detach", is_flag=True, help="Stay in the foreground.")
@_takeover
@click.option("--log", "-l", "show_log", is_flag=True, help="Show the end of its log.")
@click.option("--dry-run", is_flag=True, help="Show the batch scripts, submit nothing.")
@click.option("--stop", "is_stop", is_flag=True, help="Stop it; local runs go on.")
@click.option("--status", "is_status", is_flag=True, help="Say whether it runs.")
def start(
    directory: str | None,
    studies: tuple[str, ...],
    generator: str | None,
    do_not_detach: bool,
    takeover: bool,
    show_log: bool,
    dry_run: bool,
    is_stop: bool,
    is_status: bool,
) -> int:
    """Start the launcher, unless it runs, and the database server if need be."""
    is_only_start = not (do_not_detach or show_log or dry_run or is_stop or is_status)
    early = start_side_by_side(directory) if is_only_start else None
    from motoko.workflow import control, generators

    workflow = load_workflow(directory)
    workflow.started_early = early
    office = control.launcher_office(workflow)
    log_file = control.launcher_log(workflow)
    if is_stop:
        daemons.stop(office)
        return 0
    if is_status:
        return daemons.show_status(office, log_file, as_json=False)
    if show_log:
        logs.show(log_file, follow_until=None)
        return 0
    names = study_names(workflow, studies)
    kinds = generators.check_generators(workflow, names or workflow.task_managers, generator)
    if dry_run:
        return _show_scripts(workflow, kinds)
    if do_not_detach:
        control.ensure_served(workflow, takeover=takeover)
        _be_launcher(workflow, generator, names, takeover)
        return 0
    before = office.owner()
    control.ensure_running(workflow, generator, names, takeover=takeover)
    workflow.close()
    owner = office.owner()
    if owner is not None:
        daemons.say_started(office, owner, before)
    return 0


def _show_scripts(workflow: Workflow, kinds: Mapping[str, str]) -> int:
    from motoko.launch.preview import previews
    from motoko.workflow import generators
    from motoko.workflow.limits import NAMES

    def gather(opened: Workflow) -> list[tuple[str, str, list[Preview]]]:
        found = []
        shared = {name: getattr(opened.config, name) for name in NAMES}
        for name, kind in kinds.items():
            generator = generators.generator_named(opened, kind)
            study = opened.task_manager(name).base
            shown = previews(study, generator, generators.python_dir(opened), shared)
            found.append((name, generator.name, shown))
        return found

    for name, kind, shown in reading.read(str(workflow.directory), gather):
        for one in shown:
            said = words.counted(one.n_runs, "run")
            click.secho(f"# {name}: {said} like {one.run}, by `{one.command}`", bold=True)
            click.echo(one.script)
        if not shown:
            click.echo(f"# {name}: no run waits to be submitted ({kind})")
    return 0


daemons.add_stop_and_status(
    command,
    "launcher",
    "Stop the launcher. What it has started goes on, and the next one takes it over.",
)


_held = click.argument("studies", metavar="[STUDY]...", nargs=-1)
_in = click.option(
    "--dir", "directory", metavar="DIR", help="The workflow's directory, if not this one."
)


@command.command()
@_held
@_in
def hold(studies: tuple[str, ...], directory: str | None) -> None:
    """Let no run of a study, or of any, begin until `motoko launcher release`.

    What executes goes on, and what waits in a batch system may begin. It binds runs that are
    created later, and later launchers.
    """
    from motoko.workflow import holding

    workflow = load_workflow(directory)
    held = holding.hold(workflow, study_names(workflow, studies))
    if held:
        click.echo(f"no run of {', '.join(held)} begins until `motoko launcher release`")
        for name, n_jobs in held.items():
            if n_jobs:
                said = "is a job" if n_jobs == 1 else "are jobs"
                click.echo(
                    f"{words.counted(n_jobs, 'run')} of {name} {said} already, and may begin"
                )
    else:
        click.echo("they were held already")


@command.command()
@_held
@_in
def release(studies: tuple[str, ...], directory: str | None) -> None:
    """Let runs of a study, or of all, begin again."""
    from motoko.workflow import control, holding

    workflow = load_workflow(directory)
    released = holding.release(workflow, study_names(workflow, studies))
    if not released:
        click.echo("nothing was held")
        return
    click.echo(f"runs of {', '.join(released)} may begin")
    if control.launcher_office(workflow).owner() is None:
        click.echo("no launcher runs: `motoko launcher` starts it")


@command.command(name="set")
@click.argument("limits", metavar="[STUDY.]NAME=NUMBER...", nargs=-1, required=True)
@_in
def set_(limits: tuple[str, ...], directory: str | None) -> None:
    """Change max_concurrent or max_submitted while it runs.

    For one study (solve.max_concurrent=20) or all together (max_submitted=100), also for later
    launchers. Without a number, what the files say holds again. What executes goes on.
    """
    from motoko.workflow import limits as setting

    workflow = load_workflow(directory)
    given = [setting.read_limit(workflow, text) for text in limits]
    setting.set_limits(workflow, given)
    for one in given:
        of = f"{one.study}: " if one.study is not None else ""
        click.echo(f"{of}{one.name} is {one.value or 'what the files say'}")


@command.command(hidden=True)
@directory_argument
@_studies
@_generator
@_takeover
@click.option("--only", type=click.Path(path_type=Path), help="A file with the runs to begin.")
@click.option("--tell-rest", is_flag=True)
def serve(
    directory: str | None,
    studies: tuple[str, ...],
    generator: str | None,
    takeover: bool,
    only: Path | None,
    tell_rest: bool,
) -> None:
    """Be the launcher, until asked to end."""
    from motoko import daemon

    daemon.log_to(find_directory(directory) / WORKFLOW_STATE / LAUNCHER_LOG)
    workflow = load_workflow(directory)
    _be_launcher(workflow, generator, study_names(workflow, studies), takeover, only, tell_rest)


def _be_launcher(
    workflow: Workflow,
    generator: str | None,
    studies: tuple[str, ...],
    takeover: bool,
    only: Path | None = None,
    tells_rest: bool = False,
) -> None:
    from motoko import daemon
    from motoko.workflow import serving

    options = serving.LauncherOptions(generator, studies, takeover, only, tells_rest)

    async def be() -> None:
        with anyio.CancelScope() as scope, Interrupts(scope.cancel, workflow.hurry):
            await serving.run_launcher(workflow, options, daemon.say_ready)

    anyio.run(be)
