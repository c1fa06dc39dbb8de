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
        from motoko.cli.side_by_side import import_needed
        from motoko.starter import is_awaited, read_word, word_pipe
    except KeyboardInterrupt:
        from motoko.cli.exit_codes import INTERRUPTED

        sys.stderr.write("motoko: interrupted before anything was begun\n")
        sys.exit(INTERRUPTED)

    is_awaited()
    if (pipe := word_pipe()) is not None:
        import_needed(sys.argv[1:])
        arguments = [*sys.argv[1:], *read_word(pipe)]
    replace_closed_streams()
    program.main(arguments)
