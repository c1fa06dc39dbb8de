"""Runs taken out of a study's database: what is left is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.errors import RunNotFound, SessionConflict
from motoko.store.audit import problems
from motoko.store.deletion import delete_runs
from motoko.store.identity import identity_of
from motoko.store.session import Session, entered
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.workflow import making
from motoko.workflow.upkeep import run_changes
from tests.support.studies import open_study, served, write_study
from tests.support.workflows import served_workflow


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    found = open_study(write_study(tmp_path / "mult"))
    with served(found):
        found.initialise()
        yield found
        found.close()


def create(study: Study, *x: float, **run_params: object) -> list[int]:
    """Runs with these values."""
    given = {"x": list(x)}
    return study.create_tasks(given, run_params, run_name="first", event_name="main")


def delete(study: Study, *run_ids: int) -> None:
    """Take runs out."""
    study.database.write(lambda tables: delete_runs(tables, run_ids))


def test_indexes_and_counters_agree_after_deletions(study: Study) -> None:
    create(study, 1.0, 2.0, 3.0)
    create(study, 2.0, 3.0, method="other")
    study.update_run(2, {"state": "FAILED"})
    study.database.write(lambda t: t.set_attempt(2, 1, {"cause": "none"}))
    study.database.write(lambda t: t.set_quantities(2, {"force": (1, 2.0)}))

    delete(study, 1, 2)

    with study.database.read() as tables:
        assert problems(tables) == []
        assert list(tables.run_ids()) == [3, 4, 5]
        assert [tables.job(i)["x"] for i in tables.job_ids()] == [2.0, 3.0]
        assert tables.counts() == {"CREATED": 3}
        assert tables.attempts(2) == []
        assert tables.quantities(2) == {}
        assert tables.select(tables.parse("x < 2.5")) == [4]


def test_same_task_is_made_anew_under_an_id_that_no_run_had(study: Study) -> None:
    create(study, 1.0, 2.0)
    delete(study, 1, 2)

    assert create(study, 2.0, 1.0) == [3, 4]
    with study.database.read() as tables:
        assert problems(tables) == []


@pytest.mark.parametrize("is_deleted_first", [True, False])
def test_a_run_that_is_made_while_the_last_one_on_its_job_is_deleted_has_a_job(
    study: Study, is_deleted_first: bool
) -> None:
    create(study, 1.0, 2.0, 3.0)
    other = open_study(study.directory)
    session = Session()

    def make() -> None:
        with entered(session):
            assert create(other, 2.0, method="other") == [4]
        if not is_deleted_first:
            session.commit()

    def remove(tables: Tables) -> None:
        delete_runs(tables, [2])
        if not session.is_changed and not session.has_changed:
            make()

    study.database.write(remove)
    session.commit()
    session.abort()
    other.close()

    study.database.await_news()
    with study.database.read() as tables:
        assert problems(tables) == []
        assert tables.job(tables.run(4)["job_id"])["x"] == 2.0


def test_work_that_rests_on_a_run_that_is_deleted_is_done_anew(study: Study) -> None:
    create(study, 1.0, 2.0)
    session = Session()
    with entered(session):
        study.run(2).norm = float(study.run(1).state == "CREATED")

    delete(study, 1)

    with pytest.raises(SessionConflict, match=r"mult\.1"):
        session.commit()
    session.abort()


def test_run_that_is_not_there_keeps_the_others(study: Study) -> None:
    create(study, 1.0)

    with pytest.raises(RunNotFound):
        delete(study, 1, 7)

    assert study.counts() == {"CREATED": 1}


def test_what_a_run_was_created_with_is_told_from_what_its_script_set(study: Study) -> None:
    create(study, 1.0, method="euler")
    study.update_run(1, {"norm": 2.0})

    with study.database.read() as tables:
        assert identity_of(tables, 1, ()).declared == (("method", "euler"),)

    study.update_run(1, {"method": "heun"})  # the index does not know that value

    with study.database.read() as tables:
        assert identity_of(tables, 1, {"method"}).declared == (("method", "heun"),)


def test_what_was_known_of_runs_is_kept_by_each_of_two_commands_of_one_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "backup"
    monkeypatch.setattr(making, "new_backup", lambda workflow: backup)
    with served_workflow(tmp_path / "w", "mult") as workflow:
        workflow.mult.createTask(x=[1.0, 2.0])
        for run_id in (1, 2):
            chosen = {workflow.mult.base: [run_id]}
            run_changes.delete(workflow, chosen, keeps_files=True)

    told = [json.loads(file.read_text())["runs"] for file in backup.rglob("*.json")]
    assert sorted(one["job"]["x"] for [one] in told) == [1.0, 2.0]
