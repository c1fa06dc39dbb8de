"""``motoko du``"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motoko.cli import output, reading, words
from motoko.cli.places import study_names

if TYPE_CHECKING:
    from motoko.study.usage import Usage
    from motoko.workflow.workflow import Workflow


@click.command()
@click.argument("studies", metavar="[STUDY]...", nargs=-1)
@click.option("--dir", "directory", metavar="DIR", help="The workflow's directory.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(studies: tuple[str, ...], directory: str | None, as_json: bool) -> None:
    """Show how many files and bytes the runs of each study have, by state."""
    from motoko.study.usage import usage

    def gather(workflow: Workflow) -> list[tuple[str, str, Usage]]:
        return [
            (name, state, used)
            for name in study_names(workflow, studies) or tuple(workflow.task_managers)
            for state, used in usage(workflow.task_manager(name).base).items()
        ]

    found = reading.read(directory, gather, *studies)
    if as_json:
        output.as_json([{"study": n, "state": s, **vars(used)} for n, s, used in found])
        return
    rows = [[n, s, u.n_runs, u.n_files, words.size(u.n_bytes)] for n, s, u in found]
    output.table(["study", "state", "runs", "files", "size"], rows)
