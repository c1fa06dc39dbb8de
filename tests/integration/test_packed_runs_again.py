"""Runs that are packed and executed again: what each attempt left stays somewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from motoko.launch.cleaning import cleaning
from motoko.study import archive, copies
from motoko.study.study import Study
from motoko.workflow import control
from motoko.workflow.upkeep import ending, run_changes
from motoko.workflow.upkeep.run_values import Values
from tests.support.launch_session import (
    YAML,
    attempts,
    create,
    launching,
    new_study,
    row,
    wait_for_attempts,
    wait_for_state,
)
from tests.support.workflows import served_workflow

SCRIPT = "echo $MOTOKO_ATTEMPT > result.txt; echo $MOTOKO_ATTEMPT >> kept.txt\n"


def packed(study: Study, *run_ids: int) -> archive.Packed:
    ids = run_ids or (1,)
    return archive.pack(study, ids, is_busy=lambda _: False, alone=lambda: cleaning(study))


def created_again(study: Study) -> None:
    study.database.write(lambda tables: tables.update_run(1, {"state": "CREATED"}))


def executed_again(study: Study, n_attempts: int = 2) -> None:
    created_again(study)
    with launching(study):
        wait_for_attempts(study, n_attempts)
        wait_for_state(study, "FINISHED")


def text(study: Study, name: str) -> str:
    return (study.run_dir(1) / name).read_text()


class Died(Exception):
    """Stands for the end of a process."""


def dying_at(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    def reached(name: str) -> None:
        if name == point:
            raise Died

    monkeypatch.setattr(archive, "reached", reached)


def test_a_later_attempt_of_a_packed_run_is_packed_with_all_before_it(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", SCRIPT) as study:
        create(study)
        with launching(study):
            wait_for_state(study, "FINISHED")
        packed(study)

        executed_again(study)

        assert "archive" not in row(study)
        assert (text(study, "result.txt"), text(study, "attempt-1/result.txt")) == (
            "2\n",
            "1\n",
        )
        assert packed(study).n_runs == 1
        assert archive.unpack(study, [1]) == 1
        assert (text(study, "result.txt"), text(study, "attempt-1/result.txt")) == (
            "2\n",
            "1\n",
        )


def test_a_packed_run_goes_on_with_what_its_study_carries_over(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", SCRIPT, YAML + "carry_over: [kept.txt]\n") as study:
        create(study)
        with launching(study):
            wait_for_state(study, "FINISHED")
        packed(study)

        executed_again(study)

        assert text(study, "kept.txt") == "1\n2\n"


def test_a_packed_run_whose_archive_is_gone_is_executed_and_says_so(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", SCRIPT) as study:
        create(study)
        with launching(study):
            wait_for_state(study, "FINISHED")
        [file] = packed(study).archives
        file.unlink()

        executed_again(study)

        assert text(study, "result.txt") == "2\n"
        assert any("archive-1.zip" in w for w in attempts(study)[-1]["warnings"])


def test_a_directory_that_is_not_what_the_archive_has_is_packed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_study(tmp_path / "s", SCRIPT) as study:
        create(study)
        with launching(study):
            wait_for_state(study, "FINISHED")
        with monkeypatch.context() as patch, pytest.raises(Died):
            dying_at(patch, "archive.told")
            packed(study)
        (study.run_dir(1) / "result.txt").write_text("corrected\n")

        assert packed(study).n_runs == 1

        assert archive.unpack(study, [1]) == 1
        assert text(study, "result.txt") == "corrected\n"


def test_a_run_that_is_put_back_while_it_is_packed_keeps_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_study(tmp_path / "s", SCRIPT) as study:
        create(study, 2)
        with launching(study):
            wait_for_state(study, "FINISHED", 1, 2)

        def reached(name: str) -> None:
            if name == "archive.made":
                created_again(study)

        monkeypatch.setattr(archive, "reached", reached)

        assert packed(study, 1, 2).n_runs == 1
        assert list(study.run_dirs()) == [1]
        assert ("archive" in row(study, 1), "archive" in row(study, 2)) == (False, True)


def test_directories_that_are_back_are_told_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_study(tmp_path / "s", SCRIPT) as study:
        create(study)
        with launching(study):
            wait_for_state(study, "FINISHED")
        packed(study)
        with monkeypatch.context() as patch, pytest.raises(Died):
            dying_at(patch, "archive.unpacked")
            archive.unpack(study, [1])
        assert "archive" in row(study)

        assert archive.unpack(study, [1]) == 0

        assert "archive" not in row(study)
        assert text(study, "result.txt") == "1\n"


def test_what_was_unpacked_to_be_read_is_that_of_the_present_archive(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", SCRIPT) as study:
        create(study)
        with launching(study):
            wait_for_state(study, "FINISHED")
        [file] = packed(study).archives
        assert (study.files_dir(1) / "result.txt").read_text() == "1\n"
        archive.unpack(study, [1])
        file.unlink()
        (study.run_dir(1) / "result.txt").write_text("corrected\n")
        # As a database that was put back says.
        study.database.write(lambda tables: tables.set_fact(archive.LAST_ARCHIVE, None))

        assert packed(study).archives == (file,)

        assert (study.files_dir(1) / "result.txt").read_text() == "corrected\n"


def test_copy_that_was_made_to_be_read_is_one_till_it_is_dropped(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", SCRIPT) as study:
        create(study)
        with launching(study):
            wait_for_state(study, "FINISHED")
        packed(study)
        place = study.files_dir(1)
        os.utime(place, (0, 0))
        assert study.files_dir(1) == place and place.stat().st_mtime > 0  # it is in use

        assert copies.drop(study.directory) == 1

        assert not place.exists()
        assert (study.files_dir(1) / "result.txt").read_text() == "1\n"
        assert copies.drop(study.directory) == 1
        assert copies.drop(study.directory) == 0


def test_a_copy_that_lacks_what_was_cleaned_up_is_made_anew(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", SCRIPT) as study:
        create(study)
        with launching(study):
            wait_for_state(study, "FINISHED")
        packed(study)
        (study.files_dir(1) / "result.txt").unlink()  # as what cleans /tmp removes old files
        copies._keeper.cache_clear()  # another process

        assert (study.files_dir(1) / "result.txt").read_text() == "1\n"


def test_a_name_of_the_users_own_is_no_archive(tmp_path: Path) -> None:
    with new_study(tmp_path / "s", SCRIPT, YAML + "retry: 0\n") as study:
        create(study)
        study.database.write(lambda tables: tables.update_run(1, {"archive": "of 1990"}))

        with launching(study):
            wait_for_state(study, "FINISHED")

        assert row(study)["archive"] == "of 1990"
        assert study.files_dir(1) == study.run_dir(1)


@pytest.mark.parametrize("how", ["clean", "retry"])
def test_a_cleaned_run_gets_nothing_back_from_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(control, "ensure_served", lambda workflow: None)
    with served_workflow(tmp_path / "w", "mult") as workflow:
        [(run, _)] = workflow.mult.createTask(x=1.0)
        study = workflow.mult.base
        study.run_dir(1).mkdir(parents=True)
        run.state = "RUNNING"
        run.state = "FINISHED"
        packed(study)
        assert "archive" in row(study)

        if how == "clean":
            ending.clean(workflow, ["mult"], [], keep_backup=True, current_files=False)
        else:
            cleans = run_changes.Retry(is_dir_cleaned=True)
            run_changes.retry(workflow, {study: [1]}, cleans)

        assert row(study)["state"] == "CREATED"
        assert "archive" not in row(study)


def test_another_task_that_is_made_of_a_packed_run_has_no_archive(tmp_path: Path) -> None:
    with served_workflow(tmp_path / "w", "mult") as workflow:
        [(run, _)] = workflow.mult.createTask(x=1.0)
        study = workflow.mult.base
        study.run_dir(1).mkdir(parents=True)
        run.state = "RUNNING"
        run.state = "FINISHED"
        packed(study)
        study.database.write(lambda tables: tables.update_run(1, {"origin": "/there"}))
        study.database.write(
            lambda tables: tables.set_fact("imported_from", {"path": "/there"})
        )

        other = run_changes.Retry({"mult": Values({}, {"x": 2.0})})
        run_changes.retry(workflow, {study: [1]}, other)

        assert row(study, 1)["archive"] == "archive-1.zip"
        assert not {"archive", "origin"} & row(study, 2).keys()
