"""Entries of runs that are declared later with a default: what was computed counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from motoko.errors import SessionConflict
from motoko.store.audit import problems
from motoko.store.identity import identity_of
from motoko.store.migration import Instructions, migrate
from motoko.store.session import Session, entered
from motoko.study.study import Study
from tests.support.studies import open_study, served, write_study

JOB = "study: a\njob: {x: float}\n"
BEFORE = f"{JOB}run: {{y: float}}\n"
LATER = f"{JOB}run: {{y: float, z: {{type: int, default: 4}}}}\n"
LATEST = LATER.replace("}}", "}, w: {type: str, default: cg}}")


@contextmanager
def declared(directory: Path, bd_yaml: str) -> Iterator[Study]:
    """The study as it goes on with this ``bd.yaml``."""
    (directory / "bd.yaml").write_text(bd_yaml)
    study = open_study(directory)
    try:
        study.initialise()
        yield study
    finally:
        study.close()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    study = open_study(write_study(tmp_path / "a", BEFORE))
    with served(study):
        yield study.directory


def create(study: Study, x: Any, **params: Any) -> list[int]:
    return study.create_tasks({"x": x}, params, run_name="r", event_name="main")


def test_runs_from_before_count_as_having_the_first_default(directory: Path) -> None:
    with declared(directory, BEFORE) as study:
        assert create(study, [1.0, 2.0]) == [1, 2]

    with declared(directory, LATER) as study:
        assert create(study, [1.0, 2.0]) == [1, 2]
        assert create(study, 1.0, z=4) == [1]
        assert create(study, 1.0, z=5) == [3]
        assert create(study, [1.0, 3.0]) == [1, 4]
        assert [study.run(n).get("z") for n in (1, 2, 3, 4)] == [4, 4, 5, 4]
        assert study.select(study.parse("z = 4")) == [1, 2, 4]
        assert study.find_tasks({"x": [1.0, 2.0, 3.0]}, None, run_name="r") == [1, 2, 4]
        assert problems(study.tables) == []


def test_entries_are_declared_one_after_the_other(directory: Path) -> None:
    with declared(directory, BEFORE) as study:
        create(study, 1.0)
    with declared(directory, LATER) as study:
        create(study, [1.0, 2.0])

    with declared(directory, LATEST) as study:
        assert create(study, [1.0, 2.0, 3.0]) == [1, 2, 3]
        assert create(study, [1.0, 2.0], w="lu") == [4, 5]
        assert create(study, 1.0, z=5) == [6]
        assert create(study, [1.0, 2.0, 3.0], z=4, w="cg") == [1, 2, 3]


def test_the_first_default_stays_when_it_is_changed(directory: Path) -> None:
    with declared(directory, BEFORE) as study:
        create(study, 1.0)
    with declared(directory, LATER):
        pass

    with declared(directory, LATER.replace("4", "5")) as study:
        assert create(study, 1.0) == [2]
        assert create(study, 1.0, z=4) == [1]
        assert create(study, 1.0) == [2]


def test_what_a_run_sets_of_it_makes_no_other_task(directory: Path) -> None:
    with declared(directory, BEFORE) as study:
        create(study, 1.0)

    with declared(directory, LATER) as study:
        study.update_run(1, {"z": 7})

        assert create(study, 1.0) == [1]
        assert study.run(1).get("z") == 7


def test_a_run_that_was_given_another_value_undeclared_is_another_task(directory: Path) -> None:
    with declared(directory, BEFORE) as study:
        assert create(study, [1.0, 2.0], z=9) == [1, 2]
        study.update_run(2, {"z": None})

    with declared(directory, LATER) as study:
        assert create(study, [1.0, 2.0]) == [3, 2]


@pytest.mark.parametrize("bd_yaml", [LATER, LATER.replace("{type: int, default: 4}", "int")])
def test_a_run_that_was_given_the_same_value_undeclared_is_the_same_task(
    directory: Path, bd_yaml: str
) -> None:
    with declared(directory, BEFORE) as study:
        assert create(study, [1.0, 2.0], z=9) == [1, 2]
        study.update_run(2, {"z": None})

    with declared(directory, bd_yaml) as study:
        assert create(study, [1.0, 2.0, 3.0], z=9) == [1, 3, 4]
        assert create(study, [1.0, 2.0, 3.0], z=9) == [1, 3, 4]
        assert create(study, 1.0, z=8) == [5]
        assert study.find_tasks({"x": [1.0, 2.0, 3.0]}, {"z": 9}, run_name="r") == [1, 3, 4]
        assert problems(study.tables) == []


def test_what_scripts_leave_may_be_declared_later(directory: Path) -> None:
    with declared(directory, BEFORE) as study:
        assert create(study, [1.0, 2.0]) == [1, 2]
        study.update_run(1, {"z": 9})

    with declared(directory, LATER.replace("{type: int, default: 4}", "int")) as study:
        assert create(study, [1.0, 2.0, 3.0]) == [1, 2, 3]
    with declared(directory, LATEST.replace("{type: int, default: 4}", "int")) as study:
        assert create(study, [1.0, 2.0, 3.0, 4.0]) == [1, 2, 3, 4]
        assert create(study, 1.0, w="lu") == [5]
        assert [study.run(n).get("z") for n in (1, 2)] == [9, None]


def test_what_made_a_run_from_before_has_the_first_default(directory: Path) -> None:
    with declared(directory, BEFORE) as study:
        create(study, 1.0, y=2.0)

    with declared(directory, LATER) as study:
        study.update_run(1, {"y": 2.0})
        found = study.ask(lambda tables: identity_of(tables, 1, ()))
        assert dict(found.declared) == {"y": 2.0, "z": 4}


def test_a_migration_keeps_what_runs_from_before_count_as(directory: Path) -> None:
    with declared(directory, BEFORE) as study:
        create(study, 1.0)
    with declared(directory, LATER) as study:
        create(study, 2.0)
    renamed = LATEST.replace("z: {type: int, default: 4}", "zz: {type: str, default: '4'}")
    (directory / "bd.yaml").write_text(renamed)

    study = open_study(directory)
    wanted = Instructions({"z": "zz"})
    study.database.write(lambda tables: migrate(tables, study.schema, wanted))
    study.close()

    with declared(directory, renamed) as study:
        assert [study.run(n).get("zz") for n in (1, 2)] == ["4", "4"]
        assert create(study, [1.0, 2.0, 3.0]) == [1, 2, 3]
        assert create(study, 1.0, zz="5") == [4]
        assert problems(study.tables) == []


def test_who_goes_on_with_the_files_of_before_makes_runs_with_what_others_have_declared(
    directory: Path,
) -> None:
    with declared(directory, BEFORE) as before:
        create(before, 1.0)
        with declared(directory, LATER):
            pass

        assert create(before, [1.0, 2.0]) == [1, 2]
        assert before.find_tasks({"x": [1.0, 2.0]}, None, run_name="r") == [1, 2]
        assert create(before, 3.0, z=5) == [3]

    with declared(directory, LATER) as study:
        assert create(study, [1.0, 2.0]) == [1, 2]
        assert create(study, 3.0, z=5) == [3]
        assert [study.run(n).get("z") for n in (1, 2, 3)] == [4, 4, 5]
        assert study.tables.entries == frozenset()
        assert problems(study.tables) == []


def test_work_that_makes_runs_while_others_declare_something_begins_again(
    directory: Path,
) -> None:
    with declared(directory, BEFORE) as before:
        session = Session()
        with entered(session):
            create(before, 1.0)
        with declared(directory, LATER):
            pass

        with pytest.raises(SessionConflict, match="what a declares"):
            session.commit()
        session.abort()
        assert before.tables.n_runs == 0
