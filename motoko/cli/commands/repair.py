"""``motoko repair``"""

from __future__ import annotations

import click

from motoko.cli import exit_codes, output
from motoko.cli.places import directory_argument, load_workflow, study_names


@click.command()
@directory_argument
@click.argument("studies", metavar="[STUDY]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(directory: str | None, studies: tuple[str, ...], as_json: bool) -> int:
    """Rebuild databases that are damaged, lost or behind their run directories.

    Everything that can be read of the old file is kept, and run directories say the rest. Of
    some studies, or of all and the workflow's own database. Nothing of the workflow may run.
    Run directories are only read, and an old file is moved into a dated directory. Says what
    could not be brought back, with code 10.
    """
    from motoko.workflow.upkeep.repair import repair

    workflow = load_workflow(directory)
    done = repair(workflow, study_names(workflow, studies))
    if as_json:
        aside = None if done.aside is None else str(done.aside)
        output.as_json({"done": done.done, "undone": done.undone, "aside": aside})
        return exit_codes.FINDINGS if done.undone else exit_codes.DONE
    for line in done.done:
        click.echo(line)
    if done.aside is not None:
        click.echo(f"the databases as they were are in {done.aside}")
    for line in done.undone:
        click.echo(f"not done: {line}")
    if not done.done and not done.undone:
        click.echo("nothing to repair")
    return exit_codes.FINDINGS if done.undone else exit_codes.DONE
