"""The process in which the python blocks of a page are executed, one after the other.

Reads one block a line from standard input as JSON, and answers on the descriptor that it is
given with JSON too: what went wrong, or nothing.
"""

import contextlib
import doctest
import io
import json
import os
import sys
import traceback

NAMESPACE = {"__name__": "__main__"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def execute(text: str, place: str) -> str:
    """Execute a block; what went wrong, empty if nothing did."""
    output = io.StringIO()
    try:
        if text.lstrip().startswith(">>>"):
            return check_session(text, place)
        with contextlib.redirect_stdout(output):
            exec(compile(text, place, "exec"), NAMESPACE)
    except BaseException:
        return traceback.format_exc() + output.getvalue()
    return ""


def check_session(text: str, place: str) -> str:
    """Execute a block of ``>>>`` lines and compare what they print."""
    test = doctest.DocTestParser().get_doctest(text, NAMESPACE, place, place, 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    runner.run(test, out=said.append, clear_globs=False)
    NAMESPACE.update(test.globs)
    return "".join(said)


def main(answers_fd: int) -> None:
    """Serve until standard input ends."""
    sys.path.insert(0, "")
    with open(answers_fd, "w") as answers:
        for line in sys.stdin:
            block = json.loads(line)
            os.chdir(block["directory"])
            problem = execute(block["text"], block["place"])
            answers.write(json.dumps(problem) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
