"""``motoko check``"""

from __future__ import annotations

import click

from motoko.cli import exit_codes, output
from motoko.cli.places import directory_argument, find_directory


@click.command()
@directory_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON: level, about, text.")
def command(directory: str | None, as_json: bool) -> int:
    """Look a whole workflow over before anything of it starts.

    Both kinds of YAML files, the files that runs need, the orchestrator, programs, sockets,
    databases. Starts and changes nothing. Ends with code 3 if there is a mistake.
    """
    from motoko.workflow.upkeep import check

    findings = list(check.check(find_directory(directory)))
    if as_json:
        output.as_json([finding._asdict() for finding in findings])
    else:
        output.lines([(f.level, f.about, f.text) for f in findings])
    return exit_codes.DONE if check.is_good(findings) else exit_codes.MISTAKE
