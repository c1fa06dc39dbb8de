"""Scripts that say when they begin and end, and how many of them executed at once."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

#: Says so in a directory, and ends once a file ``go`` is there, or one of its own.
WAITS = """
echo + $MOTOKO_RUN_ID >> {0}/ran
until [[ -e {0}/go || -e {0}/go-$MOTOKO_RUN_ID ]]; do read -t 0.05 <> <(:); done
echo - $MOTOKO_RUN_ID >> {0}/ran
"""


def steps(directory: Path) -> list[str]:
    """What the scripts have said, in this order."""
    file = directory / "ran"
    return file.read_text().splitlines() if file.exists() else []


def executing(directory: Path) -> list[int]:
    """The runs whose scripts have begun and not ended."""
    found: dict[int, None] = {}
    for step in steps(directory):
        sign, _, run_id = step.partition(" ")
        if sign == "+":
            found[int(run_id)] = None
        else:
            del found[int(run_id)]
    return list(found)


def most_at_once(directory: Path) -> int:
    """How many have executed at the same time."""
    counts = accumulate(1 if step[0] == "+" else -1 for step in steps(directory))
    return max(counts, default=0)
