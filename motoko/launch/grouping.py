"""Several runs in one submission: as an array of jobs, or one after the other in one job.

Each keeps its own script, token and outcome; what is submitted only says whose turn it is.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from motoko.launch.batch_generator import Array, BatchGenerator, Shape

#: No array is larger; systems have limits of their own, of about that.
MOST_IN_ARRAY = 1000

_ARRAY = """\
cd -- {place} || exit 126
_motoko_scripts=(
{scripts}
)
exec /bin/bash "${{_motoko_scripts[${variable} - {base}]}}"
"""
_PACK = """\
cd -- {place} || exit 126
for _motoko_script in \\
{scripts}
do
  /bin/bash "$_motoko_script"
done
exit 0
"""


class Grouped(NamedTuple):
    """How runs of a study share submissions."""

    is_array: bool = False
    pack: int = 1
    most_at_once: int | None = None

    @property
    def most(self) -> int:
        """How many runs one submission may have."""
        return self.pack if self.pack > 1 else MOST_IN_ARRAY if self.is_array else 1


def group_script(
    generator: BatchGenerator,
    name: str,
    shape: Shape,
    place: str,
    scripts: Sequence[str],
    grouped: Grouped,
) -> str:
    """What is submitted for these scripts, which lie below a directory."""
    log = f".{name}.log"
    resources = shape.resources
    quoted = [f"  {shlex.quote(script)}" for script in scripts]
    if grouped.pack > 1:
        if resources.walltime_s is not None:
            longest = resources.walltime_s * len(scripts)
            shape = shape._replace(resources=resources._replace(walltime_s=longest))
        directives = generator.directives(name, shape, log)
        body = _PACK.format(place=shlex.quote(place), scripts=" \\\n".join(quoted))
    else:
        array = Array(len(scripts), grouped.most_at_once)
        directives = generator.directives(name, shape, log, array)
        body = _ARRAY.format(
            place=shlex.quote(place),
            scripts="\n".join(quoted),
            variable=generator.array_variable,
            base=generator.array_base,
        )
    return "\n".join(["#!/bin/bash", *generator.lines(directives), "", body])
