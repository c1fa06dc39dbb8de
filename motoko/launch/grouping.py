"""Several runs in one submission: as an array of jobs, or one after the other in one job.

Each keeps its own script, token and outcome; what is submitted only says whose turn it is.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from motoko.job.shell import BELOW
from motoko.launch.batch_generator import Array, BatchGenerator, Shape

#: No array is larger; systems have limits of their own, of about that.
MOST_IN_ARRAY = 1000
#: How often a packed job looks whether the run whose turn it is shall end.
_LOOK_S = 2

_ARRAY = """\
cd -- {place} || exit 126
_motoko_scripts=(
{scripts}
)
exec /bin/bash "${{_motoko_scripts[${variable} - {base}]}}"
"""
# One of several runs is ended alone by its file, asked first and then made to.
_PACK = """\
cd -- {place} || exit 126
{below}
_motoko_follow() {{
  local file=${{2/job-/cancel-}} number=TERM timer
  while :; do
    sleep {look_s} &
    timer=$!
    wait -n "$1" "$timer"
    if kill "$timer" 2>/dev/null; then
      wait "$timer" 2>/dev/null
      return
    fi
    if [[ -e ${{file%.sh}} ]]; then
      _motoko_below "$1"
      kill -s "$number" "${{_motoko_pids[@]}}" 2>/dev/null
      number=KILL
    fi
  done
}}
for _motoko_script in \\
{scripts}
do
  /bin/bash "$_motoko_script" &
  _motoko_follow "$!" "$_motoko_script"
done
exit 0
"""


class Grouped(NamedTuple):
    """How runs of a study share submissions."""

    is_array: bool = False
    pack: int = 1
    most_at_once: int | None = None

    @property
    def has_array(self) -> bool:
        """Whether they are jobs of an array."""
        return self.is_array and self.pack == 1

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
        body = _PACK.format(
            place=shlex.quote(place),
            scripts=" \\\n".join(quoted),
            below=BELOW.strip(),
            look_s=_LOOK_S,
        )
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
