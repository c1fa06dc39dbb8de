"""The environment of scripts, and the directory by which any Python finds the job side."""

from __future__ import annotations

import os
import pwd
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import motoko
from motoko.errors import SubmissionFailed
from motoko.job import layout
from motoko.paths import STUDY_STATE
from motoko.store import tls
from motoko.study.study import Study


def make_python_dir(directory: Path) -> None:
    """Make a directory that holds a link named ``motoko`` to this package, and nothing else.

    Only this directory goes on the scripts' PYTHONPATH: what else is installed beside this
    package stays out of their sight.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    _make_link(directory / "motoko", _package())


def names_dir(python_dir: Path) -> Path:
    """The directory, beside a `make_python_dir`, of the names that BlackDynamite has."""
    return python_dir.with_name("names")


def make_names_dir(directory: Path) -> None:
    """Make a directory in which scripts find a module ``BlackDynamite``, and in its ``bin`` a
    command ``canYouDigIt``: both are Motoko's own."""
    (directory / "bin").mkdir(parents=True, exist_ok=True, mode=0o700)
    _make_link(directory / "BlackDynamite", _package() / "compat" / "names" / "BlackDynamite")
    script = f'#!/bin/sh\nexec {shlex.join([sys.executable, "-m", "motoko", "bd"])} "$@"\n'
    file = directory / "bin" / "canYouDigIt"
    if file.is_file() and file.read_text() == script:
        return
    aside = file.with_name(f".{file.name}-{os.getpid()}")
    aside.write_text(script)
    aside.chmod(0o700)
    aside.replace(file)


def _package() -> Path:
    return Path(motoko.__file__).resolve().parent


def _make_link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    aside = link.with_name(f".{link.name}-{os.getpid()}")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    if link.is_dir() and not link.is_symlink():
        # The workflow was copied with its links followed: this was the package, and is no more.
        with TemporaryDirectory(prefix=f".{link.name}-", dir=link.parent) as old:
            link.rename(Path(old, link.name))
    aside.replace(link)


def database_host(study: Study) -> str:
    """How scripts write where the study's database is: ``zeo:///dir``, ``zeo://name:port``."""
    address = study.address
    if address.path is None:
        return f"zeo://{address.host}:{address.port}"
    if address.path.parent.name == STUDY_STATE:
        return f"zeo://{address.path.parent.parent}"
    return f"zeo://{study.directory}"


class Environment:
    """The variables of a study's scripts."""

    def __init__(self, study: Study, python_dir: Path, inherited: Mapping[str, str]) -> None:
        """``inherited`` are those of the launcher, which are the user's; the `names_dir` beside
        ``python_dir`` is added unless the study uses an installed BlackDynamite."""
        #: Directories that come before those of PYTHONPATH, and of PATH.
        self.python_path = [str(python_dir)]
        self.path: list[str] = []
        if study.config.blackdynamite is None:
            names = names_dir(python_dir)
            self.python_path.insert(0, str(names))
            self.path.append(str(names / "bin"))
        self._own = {
            "MOTOKO_STUDY": study.config.study,
            "MOTOKO_WORKFLOW": str(study.workflow_file or ""),
            "BLACKDYNAMITE_HOST": database_host(study),
            "BLACKDYNAMITE_STUDY": study.config.study,
            "BLACKDYNAMITE_SCHEMA": study.config.study,
            "BLACKDYNAMITE_USER": user_name(inherited),
        }
        if (certificates := tls.directory_of(study.address)) is not None:
            self._own[tls.VARIABLE] = str(certificates)
        self._all = {k: v for k, v in inherited.items() if k not in layout.LAST_VARIABLES}
        self._all |= {
            **self._own,
            "PYTHONPATH": before(self.python_path, inherited.get("PYTHONPATH")),
            "PATH": before(self.path, inherited.get("PATH", os.defpath)),
        }
        self._study = study.name
        self._hands_on = study.config.completion == "explicit"

    def of_run(
        self,
        run_id: int,
        run: Mapping[str, Any],
        run_dir: str,
        attempt: int,
        before: Mapping[str, Any] | None = None,
    ) -> dict[str, str]:
        """The variables of one attempt; ``before`` is what was recorded of the one before it.

        SubmissionFailed for one that cannot be.
        """
        own = self.own_of_run(run_id, run, run_dir, attempt, before)
        variables = {**self._all, **own}
        if "OMP_NUM_THREADS" not in variables:
            variables["OMP_NUM_THREADS"] = str(run.get("nproc", 1))
        return variables

    def own_of_run(
        self,
        run_id: int,
        run: Mapping[str, Any],
        run_dir: str,
        attempt: int,
        before: Mapping[str, Any] | None = None,
    ) -> dict[str, str]:
        """Those among them that depend on nothing that is found where the script executes.

        SubmissionFailed for one that cannot be.
        """
        variables = self._own.copy()
        variables["MOTOKO_RUN_DIR"] = run_dir
        variables["MOTOKO_RUN_ID"] = variables["BLACKDYNAMITE_RUN_ID"] = str(run_id)
        variables["MOTOKO_ATTEMPT"] = str(attempt)
        if self._hands_on:
            variables["MOTOKO_HANDED_ON"] = layout.handed_file(run_dir, attempt)
        if before:
            variables.update(_of_attempt_before(before))
        threads = run.get("omp_num_threads")
        if threads is not None:
            variables["OMP_NUM_THREADS"] = str(threads)
            if not _may_be_variable(str(threads)):
                why = f"omp_num_threads is {threads!r}, which no environment variable can be"
                raise SubmissionFailed(f"{self._study}.{run_id}", why, transient=False)
        return variables


def _of_attempt_before(known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for variable, fact in layout.LAST_VARIABLES.items():
        value = known.get(fact)
        if value is not None:
            yield variable, str(value).replace("\0", "")


def _may_be_variable(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def before(places: Sequence[str], rest: str | None) -> str:
    """A search path that begins with these directories, each in it once."""
    others = [p for p in (rest or "").split(os.pathsep) if p and p not in places]
    return os.pathsep.join([*places, *others])


def user_name(inherited: Mapping[str, str]) -> str:
    """The user that this process belongs to."""
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return inherited.get("USER", str(os.getuid()))
