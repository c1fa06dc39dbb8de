"""A database that is made anew from directories says of runs what their files had said."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from motoko.job.layout import FAILED, FINISHED
from motoko.launch.reconcile import reconcile
from motoko.store.tables import Tables
from motoko.study.study import Study
from tests.support.launch_session import (
    ONCE,
    YAML,
    attempts,
    create,
    launching,
    new_study,
    row,
    wait_for,
    wait_for_attempts,
)
from tests.support.studies import open_study, served

DECLARED = "sentinels: {success: [done], failure: [diverged]}\n"
SCRIPT = 'if [ "__BLACKDYNAMITE__x__" = 1.0 ]; then touch diverged; else touch done; fi\n'
OVER = {"FINISHED", "FAILED"}


def ended(study: Study, n_runs: int) -> Callable[[], bool]:
    return lambda: all(row(study, r)["state"] in OVER for r in range(1, n_runs + 1))


def generation_of(study: Study) -> str:
    with study.database.read() as tables:
        return str(tables.fact("generation"))


@contextmanager
def anew(study: Study, generation: str) -> Iterator[Study]:
    """The study with a database that has nothing but what directories say."""
    shutil.rmtree(study.state_dir)
    found = open_study(study.directory)

    def be_the_same(tables: Tables) -> None:
        tables.set_fact("generation", generation)

    with served(found):
        found.initialise()
        found.database.write(be_the_same)
        assert reconcile(found, {}).problems == []
        try:
            yield found
        finally:
            found.close()


@pytest.mark.parametrize("is_told", [True, False], ids=["sentinel", "files alone"])
def test_a_failure_by_declared_files_is_one_after_it(tmp_path: Path, is_told: bool) -> None:
    with new_study(tmp_path / "s", SCRIPT, ONCE + DECLARED) as study:
        create(study, 2)
        with launching(study):
            wait_for(study, ended(study, 2))
        before = [(row(study, r)["state"], attempts(study, r)[0].get("cause")) for r in (1, 2)]
        assert [state for state, _ in before] == ["FINISHED", "FAILED"]
        for directory in study.run_dirs().values() if not is_told else ():
            for name in (FINISHED, FAILED):
                (directory / name).unlink(missing_ok=True)
        generation = generation_of(study)
    with anew(study, generation) as study:
        after = [(row(study, r)["state"], attempts(study, r)[0].get("cause")) for r in (1, 2)]

    assert after == before


def test_what_the_sentinel_says_stands_above_files_that_others_changed_since(
    tmp_path: Path,
) -> None:
    with new_study(tmp_path / "s", SCRIPT, ONCE + DECLARED) as study:
        create(study, 2)
        with launching(study):
            wait_for(study, ended(study, 2))
        generation = generation_of(study)
        for run_id, name in ((1, "diverged"), (2, "done")):
            other = {"diverged": "done", "done": "diverged"}[name]
            (study.run_dir(run_id) / other).rename(study.run_dir(run_id) / name)
    with anew(study, generation) as study:
        assert [row(study, r)["state"] for r in (1, 2)] == ["FINISHED", "FAILED"]


def test_an_earlier_attempt_that_failed_by_its_files_is_one_after_it(tmp_path: Path) -> None:
    script = "[ $MOTOKO_ATTEMPT = 2 ] && touch done || touch diverged\n"
    with new_study(tmp_path / "s", script, ONCE + DECLARED) as study:
        create(study)
        with launching(study):
            wait_for(study, ended(study, 1))
            study.database.write(lambda tables: tables.update_run(1, {"state": "CREATED"}))
            wait_for_attempts(study, 2)
        before = [a["state"] for a in attempts(study)]
        generation = generation_of(study)
    assert before == ["FAILED", "FINISHED"]
    with anew(study, generation) as study:
        assert [a["state"] for a in attempts(study)] == before


def test_a_run_that_was_found_finished_is_finished_after_it(tmp_path: Path) -> None:
    yaml = YAML + DECLARED + "carry_over: [done]\n"
    with new_study(tmp_path / "s", "touch done\n", yaml) as study:
        create(study)
        with launching(study):
            wait_for(study, ended(study, 1))
            study.database.write(lambda tables: tables.update_run(1, {"state": "CREATED"}))
            wait_for_attempts(study, 2)
        generation, before = generation_of(study), attempts(study)[-1]
    assert "nothing was executed" in str(before["warnings"])
    with anew(study, generation) as study:
        assert row(study)["state"] == "FINISHED"
        assert attempts(study)[-1]["warnings"] == before["warnings"]


def test_a_run_with_a_policy_of_its_own_keeps_it(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", "kill -9 $$\n", YAML) as study:
        create(study, on_failure={"retry": 0})
        with launching(study):
            wait_for(study, ended(study, 1))
        generation = generation_of(study)
        assert row(study)["state"] == "FAILED"
    with anew(study, generation) as study:
        assert row(study)["state"] == "FAILED"


@pytest.mark.parametrize("norm", [2.5, 3.5], ids=["same entries", "others"])
def test_a_directory_of_another_task_of_the_same_job_is_not_taken_for_that_of_a_run(
    tmp_path: Path, norm: float
) -> None:
    with new_study(tmp_path / "s", "true\n", ONCE) as study:
        create(study, norm=2.5)
        with launching(study):
            wait_for(study, ended(study, 1))
        generation = generation_of(study)
    shutil.rmtree(study.state_dir)
    study = open_study(study.directory)
    with served(study):
        study.initialise()
        study.database.write(lambda tables: tables.set_fact("generation", generation))
        create(study, norm=norm)  # as after a backup that was put back
        found = reconcile(study, {})
        now = row(study)
        study.close()

    if norm == 2.5:
        assert (found.problems, now["state"]) == ([], "FINISHED")
    else:
        assert "belongs to another job, run name or entries" in found.problems[0]
        assert (now["norm"], now["state"]) == (3.5, "CREATED")
