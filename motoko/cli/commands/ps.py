"""``motoko ps``"""

from __future__ import annotations

import click

from motoko.cli import output, processes, words


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Show my workflows on this host: every server, launcher and orchestrator."""
    found = processes.find()
    if as_json:
        output.as_json([process._asdict() for process in found])
        return
    if not found:
        click.echo("no workflow of yours runs on this host")
        return
    output.table(
        ["directory", "kind", "run name", "pid", "cpu", "memory", "since"],
        [
            [
                words.Whole(p.directory),
                p.kind,
                words.Whole(p.run_name),
                p.pid,
                words.duration(p.cpu_s),
                words.size(p.memory_bytes),
                words.moment(p.since),
            ]
            for p in found
        ],
    )
