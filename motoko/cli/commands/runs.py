"""``motoko runs``"""

from __future__ import annotations

import click

from motoko.cli import output, reading, words

_DEFAULT_LIMIT = 100
_in = click.option(
    "--dir", "directory", metavar="DIR", help="The workflow's directory, if not this one."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """List runs, show one of them."""


@command.command(name="list")
@click.argument("study")
@click.argument("constraints", nargs=-1)
@_in
@click.option("--run_name", metavar="NAME", help="Only runs of this run name.")
@click.option("--limit", type=click.IntRange(1), default=_DEFAULT_LIMIT, show_default=True)
@click.option("--all", "is_all", is_flag=True, help="All of them, without a limit.")
@_json
def list_runs(
    study: str,
    constraints: tuple[str, ...],
    directory: str | None,
    run_name: str | None,
    limit: int,
    is_all: bool,
    as_json: bool,
) -> None:
    """List the runs of a study that constraints hold for.

    For example: motoko runs list solve 'state = FAILED' 'h < 0.1'. The latest runs are
    shown when there are more than the limit.
    """
    from motoko.cli import runs
    from motoko.workflow import rows

    with reading.opened(directory) as workflow:
        found = rows.listed(
            workflow.task_manager(study).base,
            runs.as_constraints(constraints),
            run_name=run_name,
            limit=None if is_all else limit,
        )
    if as_json:
        output.as_json(found.rows)
        return
    if not found.rows:
        click.echo("no runs")
        return
    output.table(*runs.table(found))
    if found.n_runs > len(found.rows):
        click.echo(f"the last {len(found.rows)} of {found.n_runs} runs; --all shows all")


@command.command()
@click.argument("run", metavar="STUDY.ID")
@_in
@_json
def show(run: str, directory: str | None, as_json: bool) -> None:
    """Show everything that is known of one run; of a failed one, why."""
    from motoko.cli import runs
    from motoko.workflow import rows

    with reading.opened(directory) as workflow:
        found = rows.card(workflow, run)
    if as_json:
        output.as_json(found.as_json())
        return
    click.echo(click.style(f"{found.study}.{found.run['id']}  {found.run['state']}", bold=True))
    for heading, pairs in runs.sections(found):
        shown = [(k, v if isinstance(v, words.Whole) else words.value(v)) for k, v in pairs]
        if shown:
            click.echo(f"\n{heading}")
            output.facts([(f"  {name}", text) for name, text in shown])
