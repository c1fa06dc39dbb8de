"""``motoko bd``"""

from __future__ import annotations

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Take what canYouDigIt takes: `motoko bd runs info`.

    In the directory of a study: init, info, jobs create, jobs info, runs create, runs info,
    runs launch, runs clean, runs exec, runs plot, runs update, runs quantity, server,
    launch_daemon, reset. In a script of a run, `runs update`, `runs quantity` and `runs info`
    are about that run. Options may be shortened; `motoko bd VERB --help` has them all.
    """
    from motoko.cli.bd import dispatch

    return dispatch(list(arguments))
