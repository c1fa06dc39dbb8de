"""The command line. click, rich, printing and exit codes live here and nowhere else.

A command parses, calls one function and prints. Commands are loaded when they are called:
``motoko --help`` imports none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``motoko`` and end the process with one of the codes in `exit_codes`."""
    try:
        from motoko.cli.failures import replace_closed_streams
        from motoko.cli.program import program
        from motoko.cli.side_by_side import told_arguments
        from motoko.starter import is_awaited
    except KeyboardInterrupt:
        from motoko.cli.exit_codes import INTERRUPTED

        sys.stderr.write("motoko: interrupted before anything was begun\n")
        sys.exit(INTERRUPTED)

    is_awaited()
    told = told_arguments()
    replace_closed_streams()
    program.main(arguments if told is None else told)
