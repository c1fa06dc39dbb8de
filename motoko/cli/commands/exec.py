"""``motoko exec``"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(words: tuple[str, ...]) -> None:
    """Run a command in which `import BlackDynamite`, `import motoko` and canYouDigIt work.

    As in: motoko exec -- python post.py. Those are Motoko's own, and nothing is installed.
    In the directory of a study, or below it, that study is what BD.Base() opens.
    """
    from motoko.compat.places import environment_of

    environment = {**os.environ, **environment_of(Path.cwd(), os.environ)}
    try:
        os.execvpe(words[0], list(words), environment)
    except FileNotFoundError:
        raise click.UsageError(f"no command {shlex.quote(words[0])}") from None
