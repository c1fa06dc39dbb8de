"""``motoko archive``"""

from __future__ import annotations

import click

from motoko.cli import output, words
from motoko.cli.places import load_workflow


@click.command()
@click.argument("study")
@click.argument("constraints", nargs=-1)
@click.option("--dir", "directory", metavar="DIR", help="The workflow's directory.")
@click.option("--unpack", is_flag=True, help="Bring directories back to where they were.")
@click.option("--drop-copies", is_flag=True, help="Remove what was unpacked to be read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    study: str,
    constraints: tuple[str, ...],
    directory: str | None,
    unpack: bool,
    drop_copies: bool,
    as_json: bool,
) -> None:
    """Pack run directories of a study into zip files; the database keeps all it knows.

    FINISHED runs, or those that constraints hold for, as far as they are over. What is packed
    is read as before: info, dataframe, quantities, getFile. Copies that are made for that in a
    directory of this machine go by themselves when they are many or old, or with --drop-copies.
    """
    if drop_copies:
        _drop_copies(study, directory, as_json=as_json)
        return
    from motoko.launch.cleaning import cleaning
    from motoko.launch.executing import executing_in
    from motoko.study import archive
    from motoko.workflow import control
    from motoko.workflow.selectors import as_constraints

    workflow = load_workflow(directory)
    workflow.task_manager(study)
    control.require_created(workflow)
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        base = workflow.task_manager(study).base
        texts = as_constraints(constraints) if constraints or unpack else ["state = FINISHED"]
        ids = base.select(base.parse(texts))
        if unpack:
            n_back = archive.unpack(base, ids)
        else:
            packed = archive.pack(
                base,
                ids,
                is_busy=lambda i: executing_in(base, i) is not None,
                alone=lambda: cleaning(base),
            )
    if unpack:
        if as_json:
            output.as_json({"runs": n_back})
        else:
            click.echo(f"{words.counted(n_back, 'run')} unpacked")
        return
    if as_json:
        output.as_json({**vars(packed), "archives": [str(file) for file in packed.archives]})
        return
    click.echo(
        f"packed {words.counted(packed.n_runs, 'run')}, {packed.n_files} files of"
        f" {words.size(packed.n_bytes)}, into {words.size(packed.n_bytes_packed)}"
    )
    for file in packed.archives:
        click.echo(str(file))


def _drop_copies(study: str, directory: str | None, *, as_json: bool) -> None:
    from motoko.study import copies

    n_dropped = copies.drop(load_workflow(directory).task_manager(study).base.directory)
    if as_json:
        output.as_json({"copies": n_dropped})
    else:
        click.echo(f"removed the copies of {words.counted(n_dropped, 'run')}")
