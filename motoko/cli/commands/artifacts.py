"""``motoko artifacts``"""

from __future__ import annotations

from pathlib import Path

import click

from motoko.cli import exit_codes, output, words


@click.group()
def command() -> None:
    """List, check and pack what an artifact store holds.

    STORE is the directory of the store, the one with its manifest.json.
    """


@command.command("list")
@click.argument("store")
@click.option("--prefix", metavar="TEXT", help="Only names that begin so.")
@click.option("--kind", type=click.Choice(["file", "dir"]), help="Only files, or directories.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(store: str, prefix: str | None, kind: str | None, as_json: bool) -> None:
    """List artifacts by name."""
    from motoko.artifacts import existing_store

    found = existing_store(store).list_artifacts(prefix=prefix, kind=kind)
    if as_json:
        output.as_json([vars(artifact) for artifact in found])
        return
    if not found:
        click.echo("no artifacts")
        return
    headers = ["name", "kind", "size", "run", "sha256"]
    rows = [[a.name, a.kind, words.size(a.size), a.run, a.sha256[:12]] for a in found]
    output.table(headers, rows)


@command.command()
@click.argument("store")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(store: str, as_json: bool) -> int:
    """Compare all data with their digests; code 10 if any is missing or changed."""
    from motoko.artifacts import existing_store

    opened = existing_store(store)
    problems = opened.verify()
    if as_json:
        output.as_json([vars(problem) for problem in problems])
    else:
        for problem in problems:
            click.echo(f"{problem.name}: {problem.what} ({problem.path})")
        n_checked = words.counted(len(opened.list_artifacts()), "artifact")
        n_problems = words.counted(len(problems), "problem") if problems else "no problems"
        click.echo(f"checked {n_checked}: {n_problems}")
    return exit_codes.FINDINGS if problems else exit_codes.DONE


@command.command()
@click.argument("store")
@click.argument("archive")
def export(store: str, archive: str) -> None:
    """Write all artifacts into a new tar file, compressed as its name says.

    The file holds one directory, which is a store wherever it is unpacked. Nothing is written
    when any artifact is missing or changed (code 10).
    """
    from motoko.artifacts import existing_store

    opened = existing_store(store)
    written = opened.export(Path(archive))
    n_artifacts = words.counted(len(opened.list_artifacts()), "artifact")
    click.echo(f"wrote {n_artifacts} ({words.size(written.stat().st_size)}) to {written}")
