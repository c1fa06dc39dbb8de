"""What finished runs have deposited, and whether that is still what they have.

It is as long as the attempt counts that left it. The databases say which one does; the manifest
of the store has it too, as far as it was known last, for whoever has the store alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from motoko.artifacts import Artifact
from motoko.errors import StoreBusy
from motoko.model import states
from motoko.store.tables import Tables
from motoko.study.order import n_times

if TYPE_CHECKING:
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

#: Tells attempts of all runs that there ever were apart.
ATTEMPT = "attempt"
#: What is added to that as long as the script of the attempt goes on.
GOES_ON = ", going on"


class Counted(NamedTuple):
    """The attempt that left what a finished run has."""

    #: Tells it from all others.
    mark: str
    number: int
    #: Whether it was set aside for a later one, in which nothing was executed.
    is_aside: bool


def counted(tables: Tables, run_id: int) -> Counted | None:
    """The attempt of a run that counts; None if the run has not finished.

    It is the last one in which something was executed: another one may have found that nothing
    was left to be done.
    """
    row = tables.run(run_id)
    if not row.get("has_finished") or states.is_bad(row["state"]):
        return None
    number, nonce = row.get("attempt") or 1, row.get("nonce")
    is_plain = number == 1 and nonce is not None  # the common case
    known = {} if is_plain else {a["number"]: a for a in tables.attempts(run_id)}
    nonces = {n: attempt.get("nonce") for n, attempt in known.items()}
    if nonce is not None:  # else it was said to have finished, and nothing executed since
        nonces[number] = nonce
    found = n_times(tables, run_id)
    if found not in nonces or known.get(found, {}).get("executed") is False:
        found = number
    mark = f"{found} {nonces.get(found) or ''}".strip()
    return Counted(mark, found, is_aside=found < number)


def is_deposit(artifact: Artifact) -> bool:
    """Whether a run has deposited it; what somebody else has stored of a run is theirs."""
    study, _, run_id = (artifact.run or "").rpartition(".")
    is_named_so = artifact.name.startswith(f"{study}/{run_id}/")
    return is_named_so and artifact.metadata.keys() == {ATTEMPT}


def mark_of(artifact: Artifact) -> str:
    """The attempt that has deposited it."""
    return str(artifact.metadata[ATTEMPT]).removesuffix(GOES_ON)


def standing(
    study: Study, tables: Tables, artifacts: Iterable[Artifact]
) -> dict[Artifact, str | None]:
    """Why what runs of a study have deposited is not what they have any more, or None."""
    whys: dict[int, tuple[str | None, str]] = {}
    found = {}
    for artifact in artifacts:
        name, _, number = (artifact.run or "").rpartition(".")
        if name != study.name or not number.isdecimal() or not is_deposit(artifact):
            continue
        run_id = int(number)
        if run_id not in whys:
            whys[run_id] = _standing(tables, str(artifact.run), run_id)
        mark, why = whys[run_id]
        found[artifact] = None if mark == mark_of(artifact) else why
    return found


def _standing(tables: Tables, title: str, run_id: int) -> tuple[str | None, str]:
    """The attempt of a run that counts, and what is to be said of what another one left."""
    if not tables.has_run(run_id):
        return None, f"there is no {title} any more"
    attempt = counted(tables, run_id)
    if attempt is None:
        return None, f"{title} is {tables.run(run_id)['state']} now"
    return attempt.mark, f"{title} has finished anew, in attempt {attempt.number}"


def refreshed(workflow: Workflow) -> list[Artifact]:
    """All artifacts of a workflow whose databases can be read, as they stand now.

    The manifest of the store says it too then, unless it cannot be written here.
    """
    store = workflow.artifacts
    artifacts = store.list_artifacts()
    found: dict[Artifact, str | None] = {}
    for manager in workflow.task_managers.values():
        with manager.base.database.read() as tables:
            found |= standing(manager.base, tables, artifacts)
    with suppress(OSError, StoreBusy):
        store.mark_stale(found)
    return restated(artifacts, found)


def restated(
    artifacts: Iterable[Artifact], found: Mapping[Artifact, str | None]
) -> list[Artifact]:
    """These artifacts as they stand, by what was found of some of them."""
    return [replace(one, stale=found.get(one, one.stale)) for one in artifacts]
