"""``motoko verify``"""

from __future__ import annotations

import click

from motoko.cli import exit_codes, output, words
from motoko.cli.places import directory_argument, load_workflow


@click.command()
@directory_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(directory: str | None, as_json: bool) -> int:
    """Check the databases of a workflow against themselves and what lies on the disk.

    Files of databases, their indexes and counters, run directories, what launchers and
    orchestrators left unfinished, the stored input files. Each finding says what to do; code
    10 if there is any. Changes nothing, and works whether or not anything runs.
    """
    from motoko.workflow.upkeep.verification import verify

    workflow = load_workflow(directory)
    try:
        report = verify(workflow)
    finally:
        workflow.close()
    if as_json:
        findings = [finding._asdict() for finding in report.findings]
        output.as_json({"checked": report.checked, "findings": findings})
    else:
        for checked in report.checked:
            click.echo(f"checked {checked}")
        for finding in report.findings:
            click.echo(f"\n{finding.where}: {finding.what}\n  {finding.advice}")
        n_findings = len(report.findings)
        click.echo(f"\n{words.counted(n_findings, 'finding')}" if n_findings else "no findings")
    return exit_codes.FINDINGS if report.findings else exit_codes.DONE
