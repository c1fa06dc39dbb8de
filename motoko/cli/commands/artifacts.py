"""``motoko artifacts``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from motoko.cli import exit_codes, output, words

if TYPE_CHECKING:
    from motoko.artifacts import Artifact, ArtifactStore


@click.group()
def command() -> None:
    """List, check, pack and remove what an artifact store holds.

    STORE is the directory of the store, the one with its manifest.json. What runs of a workflow
    have deposited is stale when they have not finished with that any more: they were put back
    and have failed since, or were deleted.
    """


@command.command("list")
@click.argument("store")
@click.option("--prefix", metavar="TEXT", default="", help="Only names that begin so.")
@click.option("--kind", type=click.Choice(["file", "dir"]), help="Only files, or directories.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(store: str, prefix: str, kind: str | None, as_json: bool) -> None:
    """List artifacts by name."""
    _, artifacts = _opened(store)
    found = [a for a in artifacts if a.name.startswith(prefix) and kind in (None, a.kind)]
    if as_json:
        output.as_json([vars(artifact) for artifact in found])
        return
    if not found:
        click.echo("no artifacts")
        return
    headers = ["name", "kind", "size", "run", "sha256"]
    rows = [[a.name, a.kind, words.size(a.size), a.run, a.sha256[:12]] for a in found]
    if any(artifact.stale is not None for artifact in found):
        headers.append("stale")
        rows = [[*row, artifact.stale] for row, artifact in zip(rows, found, strict=True)]
    output.table(headers, rows)


@command.command()
@click.argument("store")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(store: str, as_json: bool) -> int:
    """Compare all data with their digests; code 10 if any is missing, changed or stale."""
    from motoko.artifacts import Problem

    opened, artifacts = _opened(store)
    problems = opened.verify()
    problems += [
        Problem(a.name, opened.root / a.path, f"stale ({a.stale})") for a in _stale(artifacts)
    ]
    problems.sort(key=lambda problem: problem.name)
    if as_json:
        output.as_json([vars(problem) for problem in problems])
    else:
        for problem in problems:
            click.echo(f"{problem.name}: {problem.what} ({problem.path})")
        n_checked = words.counted(len(artifacts), "artifact")
        n_problems = words.counted(len(problems), "problem") if problems else "no problems"
        click.echo(f"checked {n_checked}: {n_problems}")
    return exit_codes.FINDINGS if problems else exit_codes.DONE


@command.command()
@click.argument("store")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--stale", is_flag=True, help="All that are stale.")
def remove(store: str, names: tuple[str, ...], stale: bool) -> None:
    """Remove artifacts with their data: those that are named, or all that are stale.

    What a run has that has finished is deposited again by the next `motoko run`.
    """
    if bool(names) == stale:
        raise click.UsageError("name artifacts, or say --stale")
    opened, artifacts = _opened(store)
    chosen = tuple(dict.fromkeys(names)) or [a.name for a in _stale(artifacts)]
    if chosen:
        opened.remove(*chosen)
    click.echo(f"removed {words.counted(len(chosen), 'artifact')}")


@command.command()
@click.argument("store")
@click.argument("archive")
def export(store: str, archive: str) -> None:
    """Write all artifacts into a new tar file, compressed as its name says.

    The file holds one directory, which is a store wherever it is unpacked. Nothing is written
    when any artifact is missing or changed (code 10).
    """
    opened, artifacts = _opened(store)
    written = opened.export(Path(archive))
    n_artifacts = words.counted(len(artifacts), "artifact")
    n_stale = len(_stale(artifacts))
    among = f", {n_stale} of them stale" if n_stale else ""
    click.echo(
        f"wrote {n_artifacts}{among} ({words.size(written.stat().st_size)}) to {written}"
    )


def _opened(store: str) -> tuple[ArtifactStore, list[Artifact]]:
    """A store and what is in it, as the databases have it if it is that of a workflow."""
    from motoko.artifacts import existing_store
    from motoko.cli import reading
    from motoko.errors import MotokoError
    from motoko.paths import ARTIFACTS, WORKFLOW_FILE, is_study_alone
    from motoko.workflow import deposited

    opened = existing_store(store)
    place = opened.root.parent
    is_workflow = (place / WORKFLOW_FILE).is_file() or is_study_alone(place)
    if opened.root.name == ARTIFACTS and is_workflow:
        try:
            return opened, reading.read(str(place), deposited.refreshed)
        except MotokoError as error:
            click.echo(f"warning: what is stale is as it was known last: {error}", err=True)
    return opened, opened.list_artifacts()


def _stale(artifacts: list[Artifact]) -> list[Artifact]:
    return [artifact for artifact in artifacts if artifact.stale is not None]
