"""What a migration of a study's entries leaves of the tasks that its runs are."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from pathlib import Path

import pytest

from motoko.store.audit import problems
from motoko.store.migration import Instructions, Migrated, migrate
from motoko.study.study import Study
from tests.support.studies import open_study, served, write_study

BD_YAML = "study: a\njob: {x: float}\nrun: {grid: str, error: float}\n"


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """Two runs that were given a grid, of which the first has left its error."""
    study = open_study(write_study(tmp_path / "a", BD_YAML))
    with served(study):
        study.initialise()
        assert created(study, grid="fine") == [1, 2]
        study.update_run(1, {"error": 0.25})
        yield study
        study.close()


def created(study: Study, **params: str) -> list[int]:
    return study.create_tasks({"x": [1.0, 2.0]}, params, run_name="r", event_name="main")


def migrated(study: Study, bd_yaml: str, wanted: Instructions) -> tuple[Study, Migrated]:
    """The study as another process opens it, and what was done."""
    (study.directory / "bd.yaml").write_text(bd_yaml)
    newer = open_study(study.directory)
    return newer, newer.database.write(lambda tables: migrate(tables, newer.schema, wanted))


@pytest.mark.parametrize(
    ("bd_yaml", "wanted", "given"),
    [
        (BD_YAML.replace("error", "residual"), Instructions({"error": "residual"}), "grid"),
        (BD_YAML.replace("error: float", "error: str"), Instructions(), "grid"),
        (
            BD_YAML.replace("grid", "mesh").replace("error", "residual"),
            Instructions({"grid": "mesh", "error": "residual"}),
            "mesh",
        ),
    ],
)
def test_what_a_run_has_left_is_no_part_of_its_task_under_another_name_either(
    study: Study, bd_yaml: str, wanted: Instructions, given: str
) -> None:
    newer, done = migrated(study, bd_yaml, wanted)

    assert done.without_identity == ()
    assert created(newer, **{given: "fine"}) == [1, 2]
    assert created(newer, **{given: "coarse"}) == [3, 4]
    assert problems(newer.tables) == []
    newer.close()


def test_a_run_whose_entries_stay_as_they_are_is_not_changed(study: Study) -> None:
    study.update_run(1, {"error": nan})

    newer, done = migrated(study, BD_YAML.replace("x: float", "x: int"), Instructions())

    assert (done.n_jobs, done.n_runs, done.without_identity) == (2, 0, ())
    newer.close()


@pytest.mark.slow
def test_of_many_entries_not_all_sets_are_tried(tmp_path: Path) -> None:
    many = ", ".join(f"e{n}: {{type: int, default: {n}}}" for n in range(30))
    bd_yaml = f"study: a\njob: {{x: float}}\nrun: {{{many}, y: float, z: str}}\n"
    study = open_study(write_study(tmp_path / "a", bd_yaml))
    with served(study):
        study.initialise()
        assert created(study, z="given") == [1, 2]
        study.update_run(1, {"y": 1.0})
        study.update_run(2, {"e1": 7, "e2": 8})

        newer, done = migrated(study, bd_yaml.replace("z:", "zz:"), Instructions({"z": "zz"}))

        assert done.without_identity == (2,)
        assert created(newer, zz="given") == [1, 3]
        newer.close()
        study.close()
