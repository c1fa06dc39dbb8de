"""A study as scripts for analysis open it: ``BD.Base()``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motoko.compat.places import default_study_dir, load_study, served_study
from motoko.config.fields import is_tcp
from motoko.errors import StudyNotFound
from motoko.store.address import parse_host

if TYPE_CHECKING:
    from motoko.study.records import Job, Run


class Base:
    """The study around the current directory, or the one that is named.

    Open from the start: through its server if that runs, else its file, to be read only. What
    is set on a run is committed at once.
    """

    def __init__(
        self,
        *,
        host: str | None = None,
        study: str | None = None,
        schema: str | None = None,
        **ignored: Any,
    ) -> None:
        """``host`` is ``zeo:///directory`` of a study, or the ``zeo://name:port`` of one of the
        workflow that the script is executed for. A ``study`` that is named must be the
        one that is found. What else `BDParser` gives is accepted and not looked at."""
        from motoko.workflow import control, opening

        wanted = study or schema
        if host and is_tcp(host):
            self._workflow, self._study = served_study(host, wanted, os.environ)
        else:
            place = parse_host(host) if host else None
            directory = place or default_study_dir(Path.cwd(), os.environ)
            assert isinstance(directory, Path)
            self._workflow, self._study = load_study(directory)
        if wanted and wanted not in (self._study.config.study, self._study.name):
            has = f"{self._study.directory} has the study {self._study.config.study}"
            raise StudyNotFound(wanted, has)
        opening.open_study(self._study, control.server_office(self._workflow))

    @property
    def study(self) -> Any:
        """The study as the rest of Motoko has it."""
        return self._study

    @property
    def schema(self) -> str:
        """The study's name."""
        return self._study.config.study

    @property
    def root_dir(self) -> str:
        """The study's directory."""
        return str(self._study.directory)

    @property
    def bd_dir(self) -> str:
        """The directory of the study's database."""
        return str(self._study.state_dir)

    @property
    def runs(self) -> Mapping[int, Run]:
        """All runs by id."""
        return self._study.runs

    @property
    def jobs(self) -> Mapping[int, Job]:
        """All jobs by id."""
        return self._study.jobs

    def getRunFromID(self, run_id: int) -> Run:
        """The run of this id; RunNotFound."""
        return self._study.run(int(run_id))

    def getJobFromID(self, job_id: int) -> Job:
        """The job of this id; JobNotFound."""
        return self._study.job(int(job_id))

    def commit(self) -> None:
        """Nothing to do: each call is committed by itself."""

    def close(self) -> None:
        """Give the connection back."""
        self._workflow.close()

    def __enter__(self) -> Base:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Base({self.schema} in {self._study.directory})"
