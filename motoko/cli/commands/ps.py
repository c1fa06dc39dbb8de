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
    headers = ["kind", "run name", "pid", "cpu", "memory", "since", "directory"]
    rows = [
        [
            p.kind,
            p.run_name,
            str(p.pid),
            words.duration(p.cpu_s),
            words.size(p.memory_bytes),
            words.moment(p.since),
            f"{p.directory} (removed)" if p.is_removed else p.directory,
        ]
        for p in found
    ]
    numeric = [False, False, True, True, True, False, False]
    for line in output.aligned([headers, *rows], numeric):
        click.echo(line)
