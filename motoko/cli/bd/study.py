"""The study that a command is about, open to be read or to be changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from motoko.cli.bd.options import Arguments

if TYPE_CHECKING:
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow


def found(given: Arguments) -> tuple[Workflow, Study]:
    """The study around the current directory, or of ``--host``, with its workflow."""
    from motoko.compat.places import default_study_dir, load_study

    environment = {**os.environ, "BLACKDYNAMITE_HOST": given.host or ""}
    start = Path.cwd()
    if given.host:
        start = Path("/")
    else:
        environment = dict(os.environ)
    return load_study(default_study_dir(start, environment))


@contextmanager
def to_read(given: Arguments) -> Iterator[tuple[Workflow, Study]]:
    """Open to be read; its server need not run."""
    from motoko.workflow import control, opening

    workflow, study = found(given)
    try:
        opening.open_study(study, control.server_office(workflow))
        yield workflow, study
    finally:
        workflow.close()


@contextmanager
def to_write(given: Arguments) -> Iterator[tuple[Workflow, Study]]:
    """Open to be changed; afterwards its server runs only if it did before."""
    from motoko.workflow import control

    workflow, study = found(given)
    control.require_created(workflow)
    with control.server_kept_as_it_was(workflow):
        control.ensure_served(workflow)
        yield workflow, study


def run_ids(study: Study, given: Arguments) -> list[int]:
    """The runs that ``--run_id`` and ``--constraints`` mean; all without them."""
    run_id = getattr(given, "run_id", None)
    if run_id is not None:
        study.run(run_id)
    texts = [] if given.constraints is None else [given.constraints]
    if run_id is not None:
        texts.append(f"runs.id = {run_id}")
    return study.select(study.parse(texts))
