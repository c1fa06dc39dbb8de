"""``motoko kill``"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from motoko.cli import output, words
from motoko.cli.places import (
    directory_argument,
    load_to_look,
    load_workflow,
    study_names,
    warn_of_mistakes,
)
from motoko.errors import ConfigError

if TYPE_CHECKING:
    from motoko.launch.executing import Executing

_MOST_EXECUTING = 10
#: By what an attempt was ended, as the history of its run says.
_RESET = "motoko kill --reset"


@click.command()
@directory_argument
@click.option(
    "--bd_study",
    "studies",
    metavar="NAME",
    multiple=True,
    help="Only launch no more runs of this study (also -bd).",
)
@click.option("--reset", is_flag=True, help="End what executes here, and jobs: CREATED again.")
@click.option("--aggressive", is_flag=True, help="Kill at once instead of asking to end.")
def command(
    directory: str | None, studies: tuple[str, ...], reset: bool, aggressive: bool
) -> None:
    """Stop orchestrators, launcher and server of a workflow.

    Runs that execute go on, and the next launcher takes them over, unless --reset says
    otherwise. With --bd_study the launcher leaves that study alone from now on; orchestrators
    and the server go on, since they serve all studies.
    """
    from motoko.cli import anew
    from motoko.workflow import control
    from motoko.workflow.upkeep import ending

    # Of one study the launcher is started anew, which reads all files.
    workflow = load_workflow(directory) if studies else load_to_look(directory)
    names = study_names(workflow, studies)
    if names:
        stopped = ending.leave_alone(workflow, names)
    else:
        stopped = control.stop_all(workflow, at_once=aggressive)
    for what in stopped:
        click.echo(f"stopped {what}")
    if reset and (mistakes := workflow.all_mistakes):
        error = ConfigError(mistakes)
        error.add_note("once that is mended, `motoko kill --reset` ends what executes, too")
        raise error
    warn_of_mistakes(workflow)
    if reset:
        done = ending.reset_active(workflow, names, at_once=aggressive, command=_RESET)
        click.echo(f"{words.counted(done.n_runs, 'run')} back to CREATED")
        anew.say_awaiting(done.awaiting)
        for one in done.ended:
            click.echo(f"ended what {one.title} still executed; its state stays")
        for one in done.left:
            click.echo(f"left alone: {one.title} executes on {one.host}")
        for title, why in list(done.queued.items())[:_MOST_EXECUTING]:
            click.echo(f"left alone: {title}; {why}")
        if len(done.queued) > _MOST_EXECUTING:
            click.echo(f"and {len(done.queued) - _MOST_EXECUTING} more")
    if reset:
        return
    if not stopped:
        click.echo("nothing was running")
    _show_executing(ending.still_executing(workflow, names))
    for name in workflow.unread:
        click.echo(f"{name}: where else its runs may lie and execute, its bd.yaml has to say")


def _show_executing(executing: Sequence[Executing]) -> None:
    if not executing:
        return
    verb = "goes" if len(executing) == 1 else "go"
    click.echo(f"{words.counted(len(executing), 'run')} {verb} on; --reset ends what is local:")
    output.lines([(f"  {e.title}", e.host, e.run_dir) for e in executing[:_MOST_EXECUTING]])
    if len(executing) > _MOST_EXECUTING:
        click.echo(f"  and {len(executing) - _MOST_EXECUTING} more")
