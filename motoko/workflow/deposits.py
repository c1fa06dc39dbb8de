"""What studies declare as artifacts: finished runs deposit it in the workflow's store.

The manifest of the store is the record of what was deposited, so that whoever dies in between
is made up for by the next orchestrator. A script may go on after it has said finish(): what it
leaves is deposited as it is then, and once more when it has ended. What an earlier attempt has
deposited stays, and is said to be stale, until the one that counts has left the same.
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
from motoko.job.layout import FAILED, FINISHED, attempt_dir, is_attempt_dir
from motoko.launch.executing import executing_in
from motoko.store.tables import Tables
from motoko.study.archive import archive_of, unpacked
from motoko.study.study import Study
from motoko.study.waiting import until_answered
from motoko.workflow import deposited
from motoko.workflow.threads import in_thread

if TYPE_CHECKING:
    from motoko.workflow.workflow import Workflow

log = logging.getLogger(__name__)
#: Says what runs have not left, which may be a slip in a pattern, and what does not count.
lack = logging.getLogger(f"{__name__}.lack")

R = TypeVar("R")
GoOn = Callable[[], None]

#: Who has to end gives what is being copied so long to be cleared away; else the next one does.
_CLEARING_S = 2.0
#: Artifacts of so many runs are looked for one by one, in a store of many.
_FEW = 10
#: Of runs that have left nothing, and of artifacts that are stale, so many are named.
_MOST_SHOWN = 10
#: Most scripts end shortly after finish(); they are waited for so long, and looked at so often.
_ENDING_S, _LOOK_S = 2.0, 0.02


class _Left(Exception):
    """Nobody waits for it any more."""


class Finished(NamedTuple):
    """A run that has finished, and the attempt that left what it has."""

    study: Study
    run_id: int
    attempt: deposited.Counted

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
        #: Those of what was deposited that do not count any more, as was said.
        self._told_stale: set[Artifact] = set()
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
        await self._tell_stale()

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
        await self._tell_stale()
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

    async def _tell_stale(self) -> None:
        """Say of what was deposited, here and in the manifest, what does not count any more."""
        if not self._store.manifest_file.exists():
            return
        async with self._turn:
            present = await _in_thread(lambda _: self._store.list_artifacts())
            found: dict[Artifact, str | None] = {}
            for manager in self._workflow.task_managers.values():
                look = partial(self._standing, manager.base, present)
                found |= await until_answered(manager.base.database, look)
            await _in_thread(lambda _: self._mark_stale(found))
        all_stale = {a for a in deposited.restated(present, found) if a.stale is not None}
        stale = sorted(all_stale - self._told_stale, key=lambda artifact: artifact.name)
        self._told_stale = all_stale
        if stale:
            lack.warning(
                "%d artifact%s stale, and kept as deposited before: %s",
                len(stale),
                " is" if len(stale) == 1 else "s are",
                _titles(f"{artifact.name} ({artifact.stale})" for artifact in stale),
            )

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
        if row["run_name"] != self._workflow.run_name:
            return None
        attempt = deposited.counted(tables, run_id)
        if attempt is None:
            return None
        self._archives[study.name, run_id] = archive_of(row)
        return Finished(study, run_id, attempt)

    async def _all(self) -> list[Finished]:
        found = []
        for study in self._studies:
            found += await until_answered(study.database, partial(self._of, study))
        return found

    # in a thread

    def _standing(
        self, study: Study, artifacts: Sequence[Artifact]
    ) -> dict[Artifact, str | None]:
        with study.database.read() as tables:
            return deposited.standing(study, tables, artifacts)

    def _mark_stale(self, found: Mapping[Artifact, str | None]) -> None:
        try:
            self._store.mark_stale(found)
        except (ArtifactError, OSError) as error:
            log.error("the manifest does not say which artifacts are stale: %s", error)

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
        marks = {
            run: run.attempt.mark + (deposited.GOES_ON if run in early else "") for run in runs
        }
        stored: dict[str | None, dict[str, str]] = {}
        looks = [run.prefix for run in runs] if len(runs) <= _FEW else [None]
        for artifact in chain.from_iterable(
            self._store.list_artifacts(prefix=p) for p in looks
        ):
            if deposited.is_deposit(artifact):
                mark = artifact.metadata[deposited.ATTEMPT]
                stored.setdefault(artifact.run, {})[artifact.name] = mark
        things: list[ToPut] = []
        run_of: dict[str, Finished] = {}
        gone: dict[Finished, set[str]] = {}
        for run in runs:
            present = stored.get(run.title, {})
            own = [name for name, mark in present.items() if mark == marks[run]]
            places = self._places(run, own)
            gone[run] = {n for n, mark in present.items() if mark == _going_on_in(run)}
            for declared, found in _left(run, places):
                lacking = self._lacking.setdefault((run.study, declared), {})
                lacking.pop(run.title, None)  # an earlier attempt may have left nothing
                if not found and places and not _has(own, f"{run.prefix}{declared}"):
                    lacking[run.title] = None
                for name, path in found:
                    gone[run].discard(name)
                    if present.get(name) != marks[run]:
                        metadata = {deposited.ATTEMPT: marks[run]}
                        things.append(ToPut(path, name, metadata, run.title))
                        run_of[name] = run
        for name, error in self._store.put_all(things, meanwhile=go_on).items():
            why = refused[run_of[name]] = f"artifact {name} cannot be deposited: {error}"
            log.error("%s", why)
        done = [run for run in runs if run not in refused]
        self._forget([name for run in done for name in sorted(gone[run])])
        self._early = (self._early - set(runs)) | (early & set(done))
        self._seen.update(run for run in done if run not in early)
        return refused

    def _places(self, run: Finished, own: Sequence[str] = ()) -> list[Path]:
        """Where what a run left is to be looked for, the first one first; none for a packed
        one, if something of all that is declared is among its ``own`` deposits, or its archive
        cannot be read."""
        study, place = run.study, run.study.run_dir(run.run_id)
        archive = self._archives.get((study.name, run.run_id))
        if archive is not None and not place.exists():
            names = [f"{run.prefix}{name}" for name in study.config.artifacts]
            if all(_has(own, name) for name in names):
                return []
            try:
                place = unpacked(study, run.run_id, archive)
            except (ArchiveDamaged, OSError) as error:
                log.warning("what %s left cannot be looked for: %s", run.title, error)
                return []
        if run.attempt.is_aside:
            return [Path(attempt_dir(place, run.attempt.number)), place]
        return [place]

    def _forget(self, names: Sequence[str]) -> None:
        """Remove what an attempt had left when it said finish(), and has removed since."""
        try:
            if names:
                self._store.remove(*names)
        except (ArtifactError, OSError) as error:
            found = ", ".join(names)
            log.error(
                "artifacts stay whose files their runs have removed: %s: %s", found, error
            )

    def _verify(self, runs: list[Finished], go_on: GoOn) -> None:
        marks = {run.title: run.attempt.mark for run in runs}
        former = {
            artifact.name
            for artifact in self._store.list_artifacts()
            if deposited.is_deposit(artifact)
            and deposited.mark_of(artifact) != marks.get(str(artifact.run))
        }
        problems = [
            problem
            for problem in self._store.verify(of=marks, meanwhile=go_on)
            if problem.name not in former
        ]
        left: set[str] = set()
        for run in runs:
            if any(problem.name.startswith(run.prefix) for problem in problems):
                left.update(n for _, found in _left(run, self._places(run)) for n, _ in found)
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


def _going_on_in(run: Finished) -> str:
    return run.attempt.mark + deposited.GOES_ON


def _has(names: Iterable[str], declared: str) -> bool:
    """Whether something of what is declared, under this name, is among these artifacts."""
    return any(name == declared or name.startswith(f"{declared}/") for name in names)


async def _in_thread(work: Callable[[GoOn], R]) -> R:
    """Do something with files, however long that takes; who has to end does not wait for it."""
    is_left = threading.Event()

    def go_on() -> None:
        if is_left.is_set():
            raise _Left

    return await in_thread(partial(work, go_on), on_leave=is_left.set, patience_s=_CLEARING_S)


def _left(
    run: Finished, places: Sequence[Path]
) -> Iterator[tuple[str, list[tuple[str, Path]]]]:
    """What is declared, and the artifacts of it that a run has left there: name and place."""
    for name, pattern in run.study.config.artifacts.items():
        paths: list[tuple[Path, Path]] = []
        for place in places:
            paths = paths or _matching(place, pattern)
        is_one = [inner for inner, _ in paths] == [Path(pattern)]
        prefix = f"{run.prefix}{name}"
        yield name, [(f"{prefix}{'' if is_one else f'/{i}'}", path) for i, path in paths]


def _matching(place: Path, pattern: str) -> list[tuple[Path, Path]]:
    """What a pattern finds, from that place on and as a whole; what earlier attempts left only
    if it says so."""
    found = [(path.relative_to(place), path) for path in sorted(place.glob(pattern))]
    if pattern.startswith("attempt-"):
        return found
    return [(inner, path) for inner, path in found if not is_attempt_dir(inner.parts[0])]
