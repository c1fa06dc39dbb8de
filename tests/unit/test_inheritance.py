"""Whether an attempt does the work of the one before it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from motoko.launch.inheritance import Inheritance, inheritance
from motoko.launch.made_for import Change, differing
from tests.support.studies import open_study, write_study

YAML = "study: s\njob: {x: float}\nrun: {dt: float, norm: float, mem: str, system_dir: str}\n"


class Left:
    """What an attempt has left, and what is made of it by the next one."""

    def __init__(self, directory: Path) -> None:
        self.schema = open_study(write_study(directory, YAML)).schema
        self.run_dir = directory / "run-1"
        self.run_dir.mkdir()
        self.begin(self.run_dir, number=1, dt=0.1)

    def begin(self, place: Path, *, number: int, **run: Any) -> None:
        facts = {"format": 1, "study": "s", "run_id": 1, "job_id": 1, "attempt": number}
        values = {"jobs.x": 1.0, "runs.dt": 0.1}
        facts |= {"nonce": f"n{number}", "job": {"x": 1.0}, "run": run, "values": values}
        (place / ".motoko-run.json").write_text(json.dumps(facts))

    def say(self, place: Path, name: str, value: Any) -> None:
        entry = {"n": "n1", "t": 1.0, "op": "set", "name": name, "value": value}
        with (place / ".motoko-journal-1-h-1-a").open("a") as file:
            file.write(f"- {json.dumps(entry)}\n")

    def next(self, number: int = 2, **row: Any) -> Inheritance:
        attempt: Any = SimpleNamespace(
            number=number,
            nonce=f"n{number}",
            run_id=1,
            run_dir=str(self.run_dir),
            job={"x": 1.0},
            row=row,
        )
        return inheritance(attempt, self.schema)


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(tmp_path / "s")


def test_other_value_is_one_from_now_on(left: Left) -> None:
    found = left.next(dt=0.5)

    assert found.changes == [Change("runs.dt", 0.1, 0.5)]
    assert (found.values, found.since) == ({"jobs.x": 1.0, "runs.dt": 0.5}, 2)


@pytest.mark.parametrize(
    "row",
    [
        {"dt": 0.1, "norm": 2.0},
        {"dt": 0.1, "norm": None},
        {"dt": 0.1, "norm": 7.0},  # nobody has given it before, and no hand has set it
        {"dt": 0.1, "mem": "8GB", "system_dir": "/moved/a"},
    ],
)
def test_results_resources_and_places_are_no_other_values(
    left: Left, row: dict[str, Any]
) -> None:
    left.begin(left.run_dir, number=1, dt=0.1, mem="4GB", system_dir="/work/a")
    left.say(left.run_dir, "norm", 1)
    left.say(left.run_dir, "norm", 2)

    found = left.next(**row)

    assert (found.changes, found.since) == ([], 1)
    assert found.values == {"jobs.x": 1.0, "runs.dt": 0.1}


def test_value_that_was_set_by_hand_counts_though_nobody_had_given_it(left: Left) -> None:
    found = left.next(dt=0.1, norm=7.0, set_by_hand={"norm": None})

    assert found.changes == [Change("runs.norm", None, 7.0)]


def test_what_is_set_aside_already_tells_the_same(left: Left) -> None:
    aside = left.run_dir / "attempt-1"
    aside.mkdir()
    left.say(aside, "dt", 0.05)
    assert left.next(dt=0.05).changes == []

    (left.run_dir / ".motoko-run.json").rename(aside / ".motoko-run.json")
    assert left.next(dt=0.05).changes == []
    assert left.next(dt=0.5).changes == [Change("runs.dt", 0.1, 0.5)]

    left.begin(left.run_dir, number=2, dt=0.5)  # it was being made when its launcher died
    assert left.next(dt=0.5).changes == [Change("runs.dt", 0.1, 0.5)]


def test_directory_that_is_gone_leaves_what_is_certain(left: Left) -> None:
    (left.run_dir / ".motoko-run.json").unlink()

    assert left.next(dt=0.5) == Inheritance({"jobs.x": 1.0}, [], is_complete=False)
    by_hand = left.next(dt=0.5, norm=2.0, set_by_hand={"dt": 0.1})
    assert by_hand == Inheritance({"jobs.x": 1.0, "runs.dt": 0.5}, [], is_complete=False)
    assert left.next(1, dt=0.5) == Inheritance({"jobs.x": 1.0, "runs.dt": 0.5}, [])


def test_what_is_not_known_stays_so_for_the_attempts_to_come(left: Left) -> None:
    facts = json.loads((left.run_dir / ".motoko-run.json").read_text())
    facts |= {"values": {"jobs.x": 1.0}, "values_complete": False}
    (left.run_dir / ".motoko-run.json").write_text(json.dumps(facts))

    assert left.next(dt=0.1) == Inheritance({"jobs.x": 1.0}, [], is_complete=False)
    assert left.next(dt=0.5).values == {"jobs.x": 1.0, "runs.dt": 0.5}


def test_what_is_declared_since_had_its_default_and_what_came_before_may_be_another() -> None:
    then = {"jobs.x": 1.0, "runs.behind_runs": "prepare.2"}

    assert differing(then, {"jobs.x": 1, "runs.dt": 0.1}, {"runs.dt": 0.1}) == []
    assert differing(then, {"jobs.x": 1, "runs.dt": 0.2}, {"runs.dt": 0.1}) == [
        Change("runs.dt", 0.1, 0.2)
    ]
    assert differing(then, {"jobs.x": 1.0, "runs.behind_runs": "prepare.3"}) == [
        Change("runs.behind_runs", "prepare.2", "prepare.3")
    ]
