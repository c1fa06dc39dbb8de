"""``motoko run``"""

from __future__ import annotations

from typing import Any

import click

from motoko.cli.own_options import PREFIX, RawCommand, declare_shared
from motoko.cli.side_by_side import start_beside

_DESCRIPTION = """\
Run a workflow: everything in one command.

Makes databases that are missing, starts the server and the launcher if they do not run, runs
the orchestrator and shows how far each study is, until the workflow is finished. What dies
meanwhile is started again. Without a run name the unfinished one is taken up again, with the
options it was begun with; if there is none, or if it was begun with other options than are
given, a new name is made from the date.

Ctrl-C ends the orchestrator; what executes goes on, and `motoko run` takes it up again."""


@click.command(cls=RawCommand)
def command(arguments: tuple[str, ...]) -> int:
    """Run a workflow: everything in one command."""
    from motoko.cli import interrupts

    with interrupts.put_off() as signals:
        early = start_beside(arguments)
        from motoko.cli import running
        from motoko.cli.run_options import Call

    call = Call(arguments, _declare, "motoko run", _DESCRIPTION, signals, early)
    return running.run(call)


def _declare(parser: Any) -> None:
    from motoko.cli import parting

    declare_shared(parser)
    parser.add_argument(
        "--generator",
        dest=f"{PREFIX}generator",
        metavar="NAME",
        help="How runs are executed, if not as motoko.yaml says.",
    )
    parting.declare(parser)
