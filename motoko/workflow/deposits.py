"""What studies declare as artifacts: finished runs deposit it in the workflow's store.

The manifest of the store is the record of what was deposited, so that whoever dies in between
is made up for by the next orchestrator. A script may go on after it has said finish(): what it
leaves is deposited as it is then, and once more when it has ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import anyio

from motoko.artifacts import Artifact, ToPut
from motoko.errors import ArchiveDamaged, ArtifactError, ArtifactsDamaged, ArtifactsRefused
from motoko.job.layout import FAILED, FINISHED
from motoko.launch.executing import executing_in
from motoko.store.tables import Tables
from motoko.study.archive import archive_of, unpacked
from motoko.study.study import Study
from motoko.study.waiting import until_answered
from motoko.workflow.threads import in_thread

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)
#: Says what runs have not left, which may be a slip in a pattern.
lack = logging.getLogger(f"{__name__}.lack")

R = TypeVar("R")
GoOn = Callable[[], None]

#: Who has to end gives what is being copied so long to be cleared away; else the next one does.
_CLEARING_S = 2.0
#: Artifacts of so many runs are looked for one by one, in a store of many.
_FEW = 10
#: Of runs that have left nothing so many are named.
_MOST_SHOWN = 10
#: Tells attempts of all runs that there ever were apart.
_ATTEMPT = "attempt"
#: What is added to that as long as the script of the attempt goes on.
_GOES_ON = ", going on"
#: Most scripts end shortly after finish(); they are waited for so long, and looked at so often.
_ENDING_S, _LOOK_S = 2.0, 0.02


class _Left(Exception):
    """Nobody waits for it any more."""


class Finished(NamedTuple):
    """A run that has finished, and with which of its attempts."""

    study: Study
    run_id: int
    attempt: str

    @property
    def title(self) -> str:
        """How it is called."""
        return f"{self.study.name}.{self.run_id}"

    @property
    def prefix(self) -> str:
        """What the names of its artifacts begin with."""
        return f"{self.study.name}/{self.run_id}/"


class Deposits:
    """The artifacts of one workflow and run name."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._store = workflow.artifacts
        self._studies = [
            m.base for m in workflow.task_managers.values() if m.bd_config.artifacts
        ]
        self._finished: dict[tuple[str, int], Finished] = {}
        #: By study and run: the archive that what it left is in, if it is packed.
        self._archives: dict[tuple[str, int], str | None] = {}
        #: Those that have deposited all that they left.
        self._seen: set[Finished] = set()
        #: Those that cannot, which is a failure of a pipeline's.
        self._told: set[Finished] = set()
        #: Those that have deposited while their scripts went on.
        self._early: set[Finished] = set()
        #: By study and name: the runs that have left nothing of what is declared.
        self._lacking: dict[tuple[Study, str], dict[str, None]] = {}
        self._turn = anyio.Lock()
        self._news = anyio.Event()

    async def begin(self) -> None:
        """Verify what was deposited before, and make up for what was not.

        What is missing or changed is deposited again from the directory of its run; where that
        is not possible any more, ArtifactsDamaged.
        """
        if self._studies:
            found = await self._all()
            await _in_thread(partial(self._verify, found))
            await self._make(found)

    async def beside(self, work: Awaitable[int]) -> int:
        """Deposit what runs leave when they finish, until this work ends; what it gives."""
        error: BaseException | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow)
            try:
                code = await work
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as caught:  # alone, and in no group
                error = caught
            group.cancel_scope.cancel()
        if error is not None:
            raise error
        await self.finish()
        return code

    async def _follow(self) -> None:
        stops = [study.lookout.watch(self._looker(study)) for study in self._studies]
        try:
            while True:
                await self._news.wait()
                self._news = anyio.Event()
                found, self._finished = list(self._finished.values()), {}
                await self._make(found)
        finally:
            for stop in stops:
                stop()

    async def finish(self) -> None:
        """Deposit what is left to be; ArtifactsRefused if anything of it cannot, and nobody who
        asked for it was told."""
        refused = await self._make(await self._all())
        for (study, name), runs in self._lacking.items():
            if not runs:
                continue
            lack.warning(
                "%d finished run%s of %s left no %s (artifact %s): %s",
                len(runs),
                "" if len(runs) == 1 else "s",
                study.name,
                study.config.artifacts[name],
                name,
                _titles(runs),
            )
        if self._early:
            lack.warning(
                "%d finished run%s on after finish(): artifacts are as the scripts had left"
                " them by now, and deposited again by the next start: %s",
                len(self._early),
                " goes" if len(self._early) == 1 else "s go",
                _titles(run.title for run in self._early),
            )
        whys = {run.title: why for run, why in refused.items() if run not in self._told}
        if whys:
            raise ArtifactsRefused(str(self._store.root), whys)

    async def made(self, study: Study, run_ids: Sequence[int]) -> dict[int, str]:
        """Have these runs deposit what they left, if they have finished; why any of them
        cannot, by id."""
        look = partial(self._of, study, run_ids)
        refused = await self._make(await until_answered(study.database, look))
        self._told |= refused.keys()
        return {run.run_id: why for run, why in refused.items()}

    async def _make(self, runs: list[Finished]) -> dict[Finished, str]:
        async with self._turn:
            return await _in_thread(partial(self._deposit, runs))

    def _looker(self, study: Study) -> Callable[[Tables, set[int] | None], None]:
        def look(tables: Tables, changed: set[int] | None) -> None:
            for run_id in tables.run_ids() if changed is None else changed:
                found = self._if_finished(study, tables, run_id)
                if found is not None:
                    self._finished[study.name, run_id] = found
            if self._finished:
                self._news.set()

        return look

    def _if_finished(self, study: Study, tables: Tables, run_id: int) -> Finished | None:
        if not tables.has_run(run_id):
            return None
        row: Mapping[str, Any] = tables.run(run_id)
        if not row.get("has_finished") or row["run_name"] != self._workflow.run_name:
            return None
        self._archives[study.name, run_id] = archive_of(row)
        attempt = f"{row.get('attempt') or 1} {row.get('nonce') or ''}".strip()
        return Finished(study, run_id, attempt)

    async def _all(self) -> list[Finished]:
        found = []
        for study in self._studies:
            found += await until_answered(study.database, partial(self._of, study))
        return found

    # in a thread

    def _of(self, study: Study, run_ids: Sequence[int] | None = None) -> list[Finished]:
        with study.database.read() as tables:
            ids = list(tables.run_ids()) if run_ids is None else run_ids
            found = (self._if_finished(study, tables, i) for i in ids)
            return [run for run in found if run is not None]

    def _deposit(self, runs: list[Finished], go_on: GoOn) -> dict[Finished, str]:
        runs = [run for run in runs if run not in self._seen]
        refused: dict[Finished, str] = {}
        if not runs:
            return refused
        early = _going_on(runs, go_on)
        attempts = {run: run.attempt + (_GOES_ON if run in early else "") for run in runs}
        stored: dict[str | None, dict[str, str]] = {}
        looks = [run.prefix for run in runs] if len(runs) <= _FEW else [None]
        for artifact in chain.from_iterable(
            self._store.list_artifacts(prefix=p) for p in looks
        ):
            if _is_deposit(artifact):
                stored.setdefault(artifact.run, {})[artifact.name] = artifact.metadata[_ATTEMPT]
        things: list[ToPut] = []
        run_of: dict[str, Finished] = {}
        for run in runs:
            present = stored.setdefault(run.title, {})
            root = self._root(run, [n for n, a in present.items() if a == attempts[run]])
            for declared, found in _left(run, root):
                lacking = self._lacking.setdefault((run.study, declared), {})
                lacking.pop(run.title, None)  # an earlier attempt may have left nothing
                if not found and root is not None:
                    lacking[run.title] = None
                for name, path in found:
                    if present.pop(name, None) != attempts[run]:
                        things.append(ToPut(path, name, {_ATTEMPT: attempts[run]}, run.title))
                        run_of[name] = run
        for name, error in self._store.put_all(things, meanwhile=go_on).items():
            why = refused[run_of[name]] = f"artifact {name} cannot be deposited: {error}"
            log.error("%s", why)
        done = [run for run in runs if run not in refused]
        self._forget(
            [n for run in done for n, a in stored[run.title].items() if a != attempts[run]]
        )
        self._early = (self._early - set(runs)) | (early & set(done))
        self._seen.update(run for run in done if run not in early)
        return refused

    def _root(self, run: Finished, deposited: Sequence[str] = ()) -> Path | None:
        """Where what a run left is to be looked for; None for a packed one, if something of all
        that is declared is ``deposited``, or its archive cannot be read."""
        study, own = run.study, run.study.run_dir(run.run_id)
        archive = self._archives.get((study.name, run.run_id))
        if archive is None or own.exists():
            return own
        places = [f"{run.prefix}{name}" for name in study.config.artifacts]
        if all(any(n == p or n.startswith(f"{p}/") for n in deposited) for p in places):
            return None
        try:
            return unpacked(study, run.run_id, archive)
        except (ArchiveDamaged, OSError) as error:
            log.warning("what %s left cannot be looked for: %s", run.title, error)
            return None

    def _forget(self, names: Sequence[str]) -> None:
        """Remove what an earlier attempt deposited, which the one that counts did not leave."""
        try:
            if names:
                self._store.remove(*names)
        except (ArtifactError, OSError) as error:
            found = ", ".join(names)
            log.error("of earlier attempts stay the artifacts %s: %s", found, error)

    def _verify(self, runs: list[Finished], go_on: GoOn) -> None:
        problems = self._store.verify(of={run.title for run in runs}, meanwhile=go_on)
        left: set[str] = set()
        for run in runs:
            if any(problem.name.startswith(run.prefix) for problem in problems):
                left.update(n for _, found in _left(run, self._root(run)) for n, _ in found)
        lost = [(p.name, p.what) for p in problems if p.name not in left]
        if lost:
            raise ArtifactsDamaged(str(self._store.root), lost)
        for problem in problems:
            log.warning("artifact %s is %s: deposited again", problem.name, problem.what)
        if problems:
            self._store.remove(*(problem.name for problem in problems))


def _going_on(runs: Sequence[Finished], go_on: GoOn) -> set[Finished]:
    """Those whose scripts do not come to their end soon after finish()."""
    end = time.monotonic() + _ENDING_S
    left = set(runs)
    while True:
        left = {run for run in left if _goes_on(run)}
        if not left or time.monotonic() >= end:
            return left
        go_on()
        time.sleep(_LOOK_S)


def _goes_on(run: Finished) -> bool:
    try:  # that it has finished is said already
        return executing_in(run.study, run.run_id, without=(FINISHED, FAILED)) is not None
    except OSError:  # it is not known; whoever copies is told why
        return False


def _titles(titles: Iterable[str]) -> str:
    found = list(titles)
    return ", ".join([*found[:_MOST_SHOWN], *["..."] * (len(found) > _MOST_SHOWN)])


def _is_deposit(artifact: Artifact) -> bool:
    """Whether it was deposited here; what somebody else has stored of a run is theirs."""
    study, _, run_id = (artifact.run or "").rpartition(".")
    is_named_so = artifact.name.startswith(f"{study}/{run_id}/")
    return is_named_so and artifact.metadata.keys() == {_ATTEMPT}


async def _in_thread(work: Callable[[GoOn], R]) -> R:
    """Do something with files, however long that takes; who has to end does not wait for it."""
    is_left = threading.Event()

    def go_on() -> None:
        if is_left.is_set():
            raise _Left

    return await in_thread(partial(work, go_on), on_leave=is_left.set, patience_s=_CLEARING_S)


def _left(run: Finished, root: Path | None) -> Iterator[tuple[str, list[tuple[str, Path]]]]:
    """What is declared, and the artifacts of it that a run has left there: name and place."""
    for name, pattern in run.study.config.artifacts.items():
        paths = [] if root is None else sorted(root.glob(pattern))
        inner = [] if root is None else [path.relative_to(root) for path in paths]
        is_one = inner == [Path(pattern)]
        names = (f"{run.prefix}{name}{'' if is_one else f'/{path}'}" for path in inner)
        yield name, list(zip(names, paths, strict=True))
