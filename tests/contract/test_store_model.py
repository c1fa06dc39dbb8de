"""The whole store and the log of firings, against a model of a page, whoever dies when."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from motoko import crashpoints
from motoko.errors import DatabaseUnavailable, SessionConflict
from motoko.launch.record import Record
from motoko.launch.work import Work
from motoko.store.audit import problems
from motoko.store.deletion import delete_runs
from motoko.store.feed import Change, FeedingStorage
from motoko.store.firing import Firing, numbers, restored
from motoko.store.session import Session, entered
from motoko.workflow import Workflow
from tests.support.effort import examples
from tests.support.workflows import served_workflow

pytestmark = pytest.mark.slow

STUDIES = ("mult", "norm")
NAMES = ("a", "b")
OPEN = {"SUBMITTED", "RUNNING"}
Op = tuple[Any, ...]


@dataclass
class Effects:
    """What one commit has done."""

    created: set[tuple[str, int]] = field(default_factory=set)
    updated: set[tuple[str, int]] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)


@dataclass
class Model:
    """What two studies and the workflow's database should hold."""

    #: By study, in the order of the ids; None for those that were deleted.
    runs: dict[str, list[dict[str, Any] | None]] = field(
        default_factory=lambda: {name: [] for name in STUDIES}
    )
    variables: dict[str, Any] = field(default_factory=dict)
    #: By key: whether the firing has its end, and what it did.
    firings: dict[str, tuple[bool, Effects]] = field(default_factory=dict)
    #: Whether anything is different since that was set to False.
    is_changed: bool = False
    effects: Effects = field(default_factory=Effects)

    def perform(self, op: Op) -> Any:
        """Do one thing, and note what it did."""
        kind, *arguments = op
        if kind == "create":
            return self._create(*arguments)
        if kind in ("note", "reset"):
            return self._update(kind, *arguments)
        if kind == "delete":
            study, run_id = arguments
            self.runs[study][run_id - 1] = None
            return None
        name = arguments[0]
        if kind == "forget" and name not in self.variables:
            return None
        self.effects.variables.add(name)
        before = dict(self.variables)
        if kind == "forget":
            del self.variables[name]
        else:
            n = self.variables.get(name, 0) + 1
            self.variables[name] = arguments[1] if kind == "set" else n
        self.is_changed = self.is_changed or self.variables != before
        return self.variables.get(name)

    def present(self, study: str) -> dict[int, dict[str, Any]]:
        """The runs that are there, by id."""
        return {i: run for i, run in enumerate(self.runs[study], 1) if run is not None}

    def _create(self, study: str, xs: Sequence[int], method: str) -> list[int]:
        runs, ids = self.runs[study], []
        for x in xs:
            task = {"x": x, "method": method}
            known = [i for i, run in self.present(study).items() if task.items() <= run.items()]
            if not known:
                runs.append(
                    {**task, "note": None, "state": "CREATED", "attempt": 0, "past": []}
                )
                self.effects.created.add((study, len(runs)))
                self.is_changed = True
            ids.append(known[0] if known else len(runs))
        return ids

    def _update(self, kind: str, study: str, run_id: int, value: Any = "CREATED") -> Any:
        run, entry = self.present(study)[run_id], "note" if kind == "note" else "state"
        if run[entry] != value:
            run[entry] = value
            run.pop("nonce", None) if kind == "reset" else None
            self.effects.updated.add((study, run_id))
            self.is_changed = True
        return value

    def claim(self, study: str, n: int, nonces: dict[int, str]) -> list[int]:
        """Give runs to the launcher."""
        runs = self.present(study)
        ids = [i for i, run in runs.items() if run["state"] == "CREATED"][:n]
        for i in ids:
            run = runs[i]
            run.update(state="SUBMITTED", attempt=run["attempt"] + 1, nonce=nonces.get(i))
        return ids

    def conclude(self, study: str, run_id: int, number: int, nonce: str) -> None:
        """The launcher says that an attempt has finished."""
        run = self.present(study).get(run_id)
        if run is None:
            return
        if number not in run["past"]:
            run["past"] = sorted([*run["past"], number])
        if run.get("nonce") == nonce and run["state"] in OPEN:
            run["state"] = "FINISHED"

    def settle(self, firing: Firing | None, *, is_last: bool, has_work: bool) -> None:
        """A session is committed."""
        done, self.effects = self.effects, Effects()
        if firing is None or not (has_work or (is_last and firing.key in self.firings)):
            return
        _, before = self.firings.get(firing.key, (False, Effects()))
        created = before.created | done.created
        updated = (before.updated | done.updated) - created
        effects = Effects(created, updated, before.variables | done.variables)
        self.firings[firing.key] = (is_last, effects)


class Died(BaseException):
    """A process is no more."""


@contextmanager
def dying(point: str, times: int) -> Iterator[None]:
    """Whoever reaches the point that often is gone."""
    left = times

    def die(chosen: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Died(point)

    before = crashpoints._chosen, crashpoints._die
    crashpoints._chosen, crashpoints._die = {point: crashpoints._Chosen(times, "")}, die
    try:
        yield
    finally:
        crashpoints._chosen, crashpoints._die = before


@contextmanager
def losing(n_before: int) -> Iterator[None]:
    """One answer to a commit is lost, after so many that were heard."""
    finish, left = FeedingStorage.tpc_finish, n_before

    def lost(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        found = finish(self, *arguments, **options)
        left -= 1
        if left == -1:
            self._feed.tell(Change(is_everything=True))  # as at the connection that follows
            raise OSError("the answer is lost")
        return found

    FeedingStorage.tpc_finish = lost
    try:
        yield
    finally:
        FeedingStorage.tpc_finish = finish


@contextmanager
def accident(what: tuple[str, int] | None) -> Iterator[None]:
    """Something happens at a commit."""
    if what is None:
        yield
    elif what[0] == "lost":
        with losing(what[1] - 1):
            yield
    else:
        with dying(*what):
            yield


def perform(workflow: Workflow, op: Op) -> Any:
    """Do one thing to the databases."""
    kind, *arguments = op
    if kind == "create":
        study, xs, method = arguments
        made = workflow.task_manager(study).createTask({"method": method}, x=list(xs))
        return [run.id for run, job in made]
    if kind == "delete":
        database = workflow.task_manager(arguments[0]).base.database
        return database.write(lambda tables: delete_runs(tables, arguments[1:]))
    if kind in ("note", "reset"):
        run = workflow.task_manager(arguments[0]).base.run(arguments[1])
        name = "note" if kind == "note" else "state"
        run[name] = arguments[2] if kind == "note" else "CREATED"
        return run[name]
    name = arguments[0]
    if kind == "forget":
        if name in workflow.vars:
            delattr(workflow.vars, name)
        return None
    value = arguments[1] if kind == "set" else workflow.vars.get(name, 0) + 1
    setattr(workflow.vars, name, value)
    return workflow.vars.get(name)


def hear_everything(workflow: Workflow) -> None:
    """Let a process know what was committed before: otherwise it hears a moment later."""
    for database in workflow.databases:
        database.write(lambda view: None)


STUDY = st.sampled_from(STUDIES)
WHICH = st.integers(0, 5)
OPS = st.one_of(
    st.tuples(
        st.just("create"),
        STUDY,
        st.lists(st.integers(1, 4), min_size=1, max_size=3),
        st.sampled_from(["euler", "heun"]),
    ),
    st.tuples(st.just("note"), STUDY, WHICH, st.integers(0, 9)),
    st.tuples(st.just("reset"), STUDY, WHICH),
    st.tuples(st.just("set"), st.sampled_from(NAMES), st.integers(0, 9)),
    st.tuples(st.just("count"), st.sampled_from(NAMES)),
    st.tuples(st.just("forget"), st.sampled_from(NAMES)),
)
DELETION = st.tuples(st.just("delete"), STUDY, WHICH)
MEDDLING = st.none() | OPS | DELETION | st.tuples(st.just("claim"), STUDY, st.integers(1, 3))
COMMIT_POINTS = (
    "commit.begun",
    "commit.decided",
    "commit.applied",
    "commit.through",
    "firing.kept",
    "firing.ended",
)
ACCIDENTS = st.none() | st.tuples(
    st.sampled_from([*COMMIT_POINTS, "lost", "lost"]), st.integers(1, 3)
)
RECOVERIES = st.none() | st.tuples(
    st.sampled_from(["recovery.applied", "recovery.forgotten"]), st.just(1)
)


class Store(RuleBasedStateMachine):
    """One process that may die, another one that goes on, and what everybody sees."""

    def __init__(self) -> None:
        super().__init__()
        self._place = TemporaryDirectory()
        self._directory = Path(self._place.name) / "w"
        self._served = served_workflow(self._directory, *STUDIES)
        self.other = self._served.__enter__()
        self.model = Model()
        self.firings: list[Firing] = []
        self.attempts: list[tuple[str, int, int, str]] = []
        self._begin()

    def teardown(self) -> None:
        """End everything."""
        self.workflow.close()
        self._served.__exit__(None, None, None)
        self._place.cleanup()

    def _begin(self) -> None:
        self.workflow = Workflow(str(self._directory))
        self.workflow.run_name = "test"

    def _resolved(self, op: Op, model: Model) -> Op | None:
        """The operation with the run that it means; None when there is none."""
        if op[0] not in ("note", "reset", "delete"):
            return op
        ids = list(model.present(op[1]))
        return (*op[:2], ids[op[2] % len(ids)], *op[3:]) if ids else None

    @rule(
        work=st.lists(OPS, max_size=5),
        chosen=st.sampled_from(["none", "new", "new", "open"]),
        is_last=st.booleans(),
        meddling=MEDDLING,
        what=ACCIDENTS,
        recovery=RECOVERIES,
    )
    def commit_a_session(
        self,
        work: list[Op],
        chosen: str,
        is_last: bool,
        meddling: Op | None,
        what: tuple[str, int] | None,
        recovery: tuple[str, int] | None,
    ) -> None:
        """Work on everything, commit it, and something may come in between."""
        hear_everything(self.workflow)
        firing = self._firing(chosen)
        session, draft = Session(firing=firing), copy.deepcopy(self.model)
        done: list[tuple[Op, Any]] = []
        with entered(session):
            for op in work:
                resolved = self._resolved(op, draft)
                if resolved is not None:
                    done.append((resolved, perform(self.workflow, resolved)))
                    assert done[-1][1] == draft.perform(resolved)
        has_work = session.is_changed
        before = copy.deepcopy(self.model)
        if meddling is not None:
            self._meddle(self._aimed(meddling, work))
            hear_everything(self.workflow)
        has_died = False
        try:
            with accident(what):
                session.commit(is_last=is_last)
        except SessionConflict:
            assert meddling is not None
            done, has_work, firing = [], False, None
        except DatabaseUnavailable:
            session.commit(is_last=is_last)
        except Died as died:
            has_died = True
            if str(died) == "commit.begun":
                done, has_work, firing = [], False, None
        finally:
            with suppress(DatabaseUnavailable):
                session.abort()
        meddled, is_deletion = self.model, meddling is not None and meddling[0] == "delete"
        if done and is_deletion:  # what the session has looked at was there before it
            self.model = before
        self.model.is_changed = False
        for op, result in done if has_work else ():  # who only looks is in nobody's way
            assert self.model.perform(op) == result
        has_work = self.model.is_changed  # to set what is set already is none
        if done and is_deletion:
            for study, runs in meddled.runs.items():
                for i, run in enumerate(runs):
                    if run is None:
                        self.model.runs[study][i] = None
        self.model.settle(firing, is_last=is_last, has_work=has_work)
        if firing is not None and not is_last and firing not in self.firings and has_work:
            self.firings.append(firing)
        if is_last and firing in self.firings:
            self.firings.remove(firing)
        if has_died:
            self._begin_anew(recovery)

    def _firing(self, chosen: str) -> Firing | None:
        if chosen == "open" and self.firings:
            return self.firings[0]
        if chosen == "none":
            return None
        return Firing(self.workflow.vars.db, "test", "event", "mult", "mult", (1,))

    def _aimed(self, meddling: Op, work: Sequence[Op]) -> Op:
        """The same, but what is deleted is on a job for which the work has made something."""
        if meddling[0] != "delete":
            return meddling
        xs = {x for op in work if op[:2] == ("create", meddling[1]) for x in op[2]}
        runs = self.model.present(meddling[1]).values()
        found = [i for i, run in enumerate(runs) if run["x"] in xs]
        return (*meddling[:2], found[meddling[2] % len(found)]) if found else meddling

    def _meddle(self, op: Op) -> None:
        if op[0] == "claim":
            self.claim(*op[1:])
            return
        resolved = self._resolved(op, self.model)
        if resolved is not None:
            hear_everything(self.other)
            assert perform(self.other, resolved) == self.model.perform(resolved)
            self.model.effects = Effects()

    def _begin_anew(self, recovery: tuple[str, int] | None) -> None:
        """Another process in the place of one that died; it may die at its first steps."""
        self.workflow.close()
        self._begin()
        try:
            with accident(recovery):
                self.workflow.recover()
        except Died:
            self._begin_anew(None)
            return
        with self.workflow.vars.db.read() as ledger:
            found = ledger.open_firings("test")
        self.firings = [restored(self.workflow.vars.db, k, r) for k, r in found.items()]

    @rule(op=OPS, what=st.sampled_from([None, ("call.done", 1), ("lost", 1)]))
    def call(self, op: Op, what: tuple[str, int] | None) -> None:
        """Do one thing outside any session."""
        if op[0] == "count":
            return  # what it reads is a call of its own
        resolved = self._resolved(op, self.model)
        if resolved is None:
            return
        hear_everything(self.workflow)
        expected = self.model.perform(resolved)
        self.model.effects = Effects()
        try:
            with accident(what):
                assert perform(self.workflow, resolved) == expected
        except Died:
            self._begin_anew(None)

    @rule(op=DELETION)
    def delete(self, op: Op) -> None:
        """Take a run out, with its job if it is the last one on it."""
        self._meddle(op)

    @rule(study=STUDY, n=st.integers(1, 3))
    def claim(self, study: str, n: int) -> None:
        """The launcher takes runs that wait."""
        database = self.other.task_manager(study).base.database
        work = Work("1", (), {}, n, frozenset(), is_first=True)
        claimed = database.write(work.apply).claimed
        nonces = {claim.row["id"]: claim.row["nonce"] for claim in claimed}
        assert list(nonces) == self.model.claim(study, n, nonces)
        for claim in claimed:
            self.attempts.append(
                (study, claim.row["id"], claim.row["attempt"], claim.row["nonce"])
            )

    @precondition(lambda self: self.attempts)
    @rule(which=WHICH, is_lost=st.booleans())
    def conclude(self, which: int, is_lost: bool) -> None:
        """The launcher records the end of an attempt, which may be late or said twice."""
        attempt = self.attempts[which % len(self.attempts)]
        study, run_id, number, nonce = attempt
        facts = {"nonce": nonce, "state": "FINISHED"}
        put = frozenset({"SUBMITTED"})
        record = Record(run_id, number, nonce, "FINISHED", put, {}, {}, facts, {})
        database = self.other.task_manager(study).base.database
        work = Work("1", [record], {}, 0, frozenset(), is_first=True)
        if is_lost:
            with losing(0), suppress(DatabaseUnavailable):
                database.write(work.apply)
        database.write(work.apply)
        self.model.conclude(*attempt)

    @rule()
    def recover(self) -> None:
        """Look for what a crash has left, though there may be nothing."""
        self.other.recover()

    @invariant()
    def everybody_sees_what_the_model_says(self) -> None:
        """Rows, indexes, variables and the log of firings are as they should be."""
        for study, runs in self.model.runs.items():
            found = self.other.task_manager(study).base.database.write(_rows)
            present = [run for run in runs if run is not None]
            assert found == [{k: v for k, v in run.items() if k != "nonce"} for run in present]
        variables, firings, n_commits = self.other.vars.db.write(_workflow)
        assert variables == self.model.variables
        assert firings == self.model.firings
        assert n_commits <= 2
        is_open = {key for key, (has_ended, _) in firings.items() if not has_ended}
        assert {firing.key for firing in self.firings} == is_open


def _rows(tables: Any) -> list[dict[str, Any]]:
    assert problems(tables) == []
    found = []
    for run_id in tables.run_ids():
        row = tables.run(run_id)
        found.append(
            {
                "x": int(tables.job(row["job_id"])["x"]),
                "method": row["method"],
                "note": row.get("note"),
                "state": row["state"],
                "attempt": row.get("attempt", 0),
                "past": [attempt["number"] for attempt in tables.attempts(run_id)],
            }
        )
    return found


def _workflow(ledger: Any) -> tuple[dict[str, Any], dict[str, Any], int]:
    firings = {}
    for key, record in ledger.firings().items():
        created, updated = (
            {(study, i) for study, ids in record[name].items() for i in numbers(ids)}
            for name in ("created", "updated")
        )
        effects = Effects(created, updated, set(record["variables"]))
        firings[key] = (record["ended"] is not None, effects)
    return ledger.variables(), firings, len(ledger.commits())


TestStore = Store.TestCase
TestStore.settings = settings(
    max_examples=examples(30),
    stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
)
