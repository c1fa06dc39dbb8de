"""Files that are there before the work that they speak of: users hear what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from motoko.errors import SubmissionFailed
from motoko.launch.inheritance import default_values, values_of
from motoko.launch.made_for import Made, Purpose, in_words
from motoko.launch.sentinels import notes_of, sentinels
from motoko.phrases import counted
from motoko.study.system_dirs import placed
from motoko.workflow.pipelines.redone import log, say_redone

if TYPE_CHECKING:
    from motoko.pipeline import Step
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

_NOT_KNOWN: Final = (
    "files say so, and nobody knows for which values they were made; remove them to have it"
    " done"
)


def tell_of_runs(workflow: Workflow, step: Step, study: Study, run_ids: Iterable[int]) -> None:
    """Say what becomes of the files of runs that are new."""
    notes, defaults = notes_of(study), default_values(study.schema)
    for run_id in run_ids:
        row = placed(study.run_row(run_id), study.directory)
        job, title = study.job_row(row["job_id"]), f"{study.name}.{run_id}"
        purpose = Purpose(notes, values_of(study.schema, job, row), defaults)
        given = study.config.sentinels, title, str(study.run_dir(run_id)), row, job
        found = sentinels(*given, partial(_told, purpose))
        with suppress(SubmissionFailed, OSError):  # the launcher finds it, too
            if found is not None:
                tell_of_files(workflow, step, title, found.made)


def _told(purpose: Purpose, run_dir: str) -> Purpose:
    """What a run is for whose directory does not say so yet."""
    return purpose


def tell_of_files(workflow: Workflow, step: Step, name: str, made: Made) -> None:
    """Say what becomes of the files of work that is about to begin."""
    asked = workflow.asked_steps
    assert asked is not None
    if changes := made.changes:
        text = f"{name} is done anew: files of it were made for other values"
        say_redone(workflow, f"{text} ({in_words(changes)})", is_news=True)
    elif made.is_finished and made.is_believed:
        log.info("%s is taken for finished: %s", name, _NOT_KNOWN)
        asked.believed[step.name] = asked.believed.get(step.name, 0) + 1


def say_believed(workflow: Workflow) -> None:
    """Say of each step once how often files were believed."""
    asked = workflow.asked_steps
    assert asked is not None
    for step, n in asked.believed.items():
        if step not in asked.told_of:
            cases = counted(n, "case")
            log.warning("step %r was taken for finished in %s: %s", step, cases, _NOT_KNOWN)
            asked.told_of.add(step)
    asked.believed.clear()
