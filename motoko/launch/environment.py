"""The environment of scripts, and the directory by which any Python finds the job side."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import motoko
from motoko.errors import SubmissionFailed
from motoko.job import layout
from motoko.paths import STUDY_STATE
from motoko.study.study import Study


def make_python_dir(directory: Path) -> None:
    """Make a directory that holds a link named ``motoko`` to this package, and nothing else.

    Only this directory goes on the scripts' PYTHONPATH: what else is installed beside this
    package stays out of their sight.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    link = directory / "motoko"
    package = Path(motoko.__file__).resolve().parent
    if link.is_symlink() and link.readlink() == package:
        return
    aside = directory / f".motoko-{os.getpid()}"
    aside.unlink(missing_ok=True)
    aside.symlink_to(package)
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
        """``inherited`` are those of the launcher, which are the user's."""
        self._all = {k: v for k, v in inherited.items() if k not in layout.LAST_VARIABLES}
        self._all.update(
            MOTOKO_STUDY=study.config.study,
            MOTOKO_WORKFLOW=str(study.workflow_file or ""),
            PYTHONPATH=_with(str(python_dir), inherited.get("PYTHONPATH")),
            BLACKDYNAMITE_HOST=database_host(study),
            BLACKDYNAMITE_STUDY=study.config.study,
            BLACKDYNAMITE_SCHEMA=study.config.study,
            BLACKDYNAMITE_USER=_user(inherited),
        )
        self._study = study.name
        self._has_threads = "OMP_NUM_THREADS" in inherited

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
        variables = self._all.copy()
        variables["MOTOKO_RUN_DIR"] = run_dir
        variables["MOTOKO_RUN_ID"] = variables["BLACKDYNAMITE_RUN_ID"] = str(run_id)
        variables["MOTOKO_ATTEMPT"] = str(attempt)
        if before:
            variables.update(_of_attempt_before(before))
        threads = run.get("omp_num_threads")
        if threads is not None:
            variables["OMP_NUM_THREADS"] = str(threads)
            if not _may_be_variable(str(threads)):
                why = f"omp_num_threads is {threads!r}, which no environment variable can be"
                raise SubmissionFailed(f"{self._study}.{run_id}", why, transient=False)
        elif not self._has_threads:
            variables["OMP_NUM_THREADS"] = str(run.get("nproc", 1))
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


def _with(first: str, rest: str | None) -> str:
    return f"{first}{os.pathsep}{rest}" if rest else first


def _user(inherited: Mapping[str, str]) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return inherited.get("USER", str(os.getuid()))
