"""The script that a batch system is given for one attempt.

It needs nothing where it executes but bash, and the file system that has the run directory.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from motoko.job import shell

# Environment modules are a shell function, which a job's shell may not have yet.
_MODULES = """\
if ! type module >/dev/null 2>&1; then
  for _motoko_file in /etc/profile.d/{{z00_lmod,lmod,modules}}.sh \\
    "${{MODULESHOME-}}/init/bash"; do
    [[ -r $_motoko_file ]] && . "$_motoko_file"
  done
fi
module load {names} || exit 126
"""
_WORD = "MOTOKO_SCRIPT"


class JobScript(NamedTuple):
    """What goes into the script of one attempt."""

    title: str
    run_dir: str
    exec_file: str
    attempt: int
    nonce: str
    generation: str
    output_file: str
    error_file: str
    #: What the script's shell touches, with ``-begun`` and ``-ended`` behind it.
    bell: str
    #: Variables that Motoko sets, and what comes before all else in PYTHONPATH and PATH.
    variables: Mapping[str, str]
    python_path: Sequence[str]
    path: Sequence[str]
    n_threads: int
    modules: Sequence[str] = ()
    warning: shell.Forewarning | None = None

    def text(self, directives: Sequence[str], system: str) -> str:
        """The whole script, with its lines of directives."""
        quote = shlex.quote
        exports = [f"export {name}={quote(value)}" for name, value in self.variables.items()]
        if "OMP_NUM_THREADS" not in self.variables:
            exports.append(f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{self.n_threads}}}")
        first = quote(":".join(self.python_path))
        exports.append(f"export PYTHONPATH={first}${{PYTHONPATH:+:$PYTHONPATH}}")
        exports += [f"export PATH={quote(directory)}:$PATH" for directory in self.path]
        modules = _MODULES.format(names=shlex.join(self.modules)) if self.modules else ""
        is_absolute = self.exec_file.startswith("/")
        script = self.exec_file if is_absolute else f"./{self.exec_file}"
        command = [script, self.run_dir, self.nonce, str(self.attempt)]
        return "\n".join(
            [
                "#!/bin/bash",
                *directives,
                f"# Run {self.title}, attempt {self.attempt}, as Motoko hands it to {system}.",
                "",
                f"cd -- {quote(self.run_dir)} || exit 126",
                f"exec </dev/null >>{quote(self.output_file)} 2>>{quote(self.error_file)}",
                f"_motoko_nonce={quote(self.nonce)} _motoko_attempt={self.attempt}",
                f"_motoko_generation={quote(self.generation)}",
                modules + "\n".join(exports),
                shell.TAKING.strip("\n"),
                f"IFS= read -r -d '' _motoko_text <<'{_WORD}'",
                shell.text(self.warning).strip("\n"),
                _WORD,
                f'exec {shell.SHELL} -c "$_motoko_text" {shlex.join(command)} "$_motoko_fd"'
                f" {quote(self.bell)}",
                "",
            ]
        )
