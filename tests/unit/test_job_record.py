"""Run and job as a script sees them: entries, setting them, states, the ``with`` block."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import motoko
from motoko.errors import EntryNotFound, SchemaError
from motoko.job.journal import list_journals, read_journal
from motoko.job.record import Run
from tests.support.facts import write_facts

FACTS: dict[str, Any] = {
    "study": "mult",
    "run_id": 3,
    "job_id": 2,
    "attempt": 1,
    "nonce": "n",
    "workflow": "/w/motoko.yaml",
    "job": {"x": 1.5, "N": 4, "items": "shadowed"},
    "job_types": {"x": "float", "N": "int", "items": "str"},
    "run": {"state": "RUNNING", "run_name": "first", "start_time": None},
    "run_types": {"tol": "float", "steps": "int", "state": "str", "tags": "list"},
}


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MOTOKO_RUN_DIR", "MOTOKO_ATTEMPT"):
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path / "run-3"
    directory.mkdir()
    write_facts(directory, FACTS)
    return directory


def entries(run_dir: Path) -> list[dict[str, Any]]:
    found = [
        entry
        for path in list_journals(run_dir, 1)
        for entry in read_journal(path, 0, "n").entries
    ]
    return sorted(found, key=lambda entry: float(entry["t"]))


def ops(run_dir: Path) -> list[str]:
    return [entry["op"] for entry in entries(run_dir)]


def get(run_dir: Path) -> Run:
    return motoko.get_run(str(run_dir))[0]


class TestEntries:
    def test_names_do_not_care_about_case(self, run_dir: Path) -> None:
        run, job = motoko.get_run(str(run_dir))

        assert (job.x, job.X, job["X"], job.n, job["N"]) == (1.5, 1.5, 1.5, 4, 4)
        assert ("X" in job, "y" in job, hasattr(job, "x"), hasattr(job, "y")) == (
            True,
            False,
            True,
            False,
        )
        assert (run.Run_Name, run["RUN_NAME"]) == ("first", "first")

    def test_they_behave_like_a_mapping(self, run_dir: Path) -> None:
        _, job = motoko.get_run(str(run_dir))

        assert list(job) == ["id", "x", "n", "items"]
        assert dict(job) == dict(job.items()) == job.entries
        assert job.entries == {"id": 2, "x": 1.5, "n": 4, "items": "shadowed"}
        assert job.types == {"id": int, "x": float, "n": int, "items": str}
        assert len(job) == 4
        assert job["items"] == "shadowed"

    def test_entries_are_a_copy(self, run_dir: Path) -> None:
        run, job = motoko.get_run(str(run_dir))

        job.entries["x"] = run.entries["state"] = 7

        assert (job.x, run.state) == (1.5, "RUNNING")

    def test_unknown_name_names_the_nearest(self, run_dir: Path) -> None:
        run, _ = motoko.get_run(str(run_dir))

        with pytest.raises(EntryNotFound) as caught:
            run["run_nme"]

        text = str(caught.value)
        assert "run 3 of study 'mult' has no entry 'run_nme'; did you mean 'run_name'?" in text
        with pytest.raises(AttributeError):
            getattr(run, "run_nme")  # noqa: B009
        with pytest.raises(KeyError):
            run["run_nme"]

    def test_built_in_entries_are_there(self, run_dir: Path) -> None:
        run, job = motoko.get_run(str(run_dir))

        assert (run.id, run["job_id"], job.id, run.study) == (3, 2, 2, "mult")
        assert run.attempt == 1
        assert run.workflow == "/w/motoko.yaml"
        assert run.run_path == str(run_dir)
        assert run.start_time is None

    def test_they_print_readably(self, run_dir: Path) -> None:
        run, job = motoko.get_run(str(run_dir))

        assert repr(run) == "<run 3 of study 'mult': RUNNING>"
        assert str(job).splitlines() == [
            "job 2 of study 'mult'",
            "  id     2",
            "  x      1.5",
            "  n      4",
            "  items  shadowed",
        ]
        assert "x" in dir(job)

    def test_job_cannot_be_changed(self, run_dir: Path) -> None:
        _, job = motoko.get_run(str(run_dir))

        with pytest.raises(SchemaError, match="job 2 of study 'mult' cannot be changed"):
            job.x = 3
        with pytest.raises(SchemaError, match="cannot be changed"):
            job["new"] = 3
        assert (job.x, "new" in job, ops(run_dir)) == (1.5, False, [])


class TestSetting:
    @pytest.mark.parametrize(
        ("value", "stored"),
        [
            (1, 1),
            ([1, (2, "a")], [1, [2, "a"]]),
            ({"a": {"b": None}}, {"a": {"b": None}}),
            (np.float32(0.5), 0.5),
            (np.int64(7), 7),
            (np.bool_(True), True),
            (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
            ({"a": np.arange(2)}, {"a": [0, 1]}),
            (Path("/a/b"), "/a/b"),
            (np.str_("word"), "word"),
            (None, None),
        ],
    )
    def test_value_arrives_in_the_journal_as_json_knows_it(
        self, run_dir: Path, value: Any, stored: Any
    ) -> None:
        run = get(run_dir)

        run.Y = value

        (entry,) = entries(run_dir)
        assert (entry["op"], entry["name"], entry["value"]) == ("set", "y", stored)
        assert type(entry["value"]) is type(stored)
        assert run.y == run["Y"] == stored

    def test_value_that_json_does_not_know_is_refused(self, run_dir: Path) -> None:
        run = get(run_dir)
        loop: list[Any] = []
        loop.append(loop)

        for value in (object(), {1, 2}, b"bytes", {1: 2}, 1j, loop, [object()]):
            with pytest.raises(SchemaError, match=r"study 'mult', 'y': .*allowed are numbers"):
                run.y = value
        assert ("y" in run, ops(run_dir)) == (False, [])

    @pytest.mark.parametrize(
        ("name", "value", "stored"),
        [
            ("tol", 1, 1.0),
            ("steps", 2.0, 2),
            ("steps", None, None),
            ("tags", ("a",), ["a"]),
        ],
    )
    def test_declared_type_converts_what_loses_nothing(
        self, run_dir: Path, name: str, value: Any, stored: Any
    ) -> None:
        run = get(run_dir)

        run[name] = value

        assert run[name] == stored
        assert type(run[name]) is type(stored)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("tol", "1"), ("steps", 2.5), ("steps", True), ("steps", float("nan")), ("tags", "a")],
    )
    def test_declared_type_refuses_the_rest(self, run_dir: Path, name: str, value: Any) -> None:
        with pytest.raises(SchemaError, match="declared as"):
            get(run_dir)[name] = value

    @pytest.mark.parametrize("name", ["id", "JOB_ID", "run_path", "attempt", "last_step"])
    def test_entries_of_the_launcher_are_read_only(self, run_dir: Path, name: str) -> None:
        run = get(run_dir)

        with pytest.raises(SchemaError, match="Motoko's own"):
            run[name] = 1

    def test_method_is_not_overwritten_by_an_entry_of_its_name(self, run_dir: Path) -> None:
        run = get(run_dir)

        with pytest.raises(SchemaError, match=r"run\['finish'\]"):
            run.finish = 3  # type: ignore[method-assign, assignment]
        run["finish"] = 3

        assert callable(run.finish)
        assert run["finish"] == 3

    @pytest.mark.parametrize("name", ["a b", "a-b", "1a", ""])
    def test_name_that_no_constraint_could_ask_for_is_refused(
        self, run_dir: Path, name: str
    ) -> None:
        with pytest.raises(SchemaError, match="found the name"):
            get(run_dir)[name] = 1

    def test_other_process_sees_it_after_update(self, run_dir: Path) -> None:
        first, second = get(run_dir), get(run_dir)

        first.y = 1
        before = "y" in second
        second.update()

        assert (before, second.y, get(run_dir).y) == (False, 1, 1)


class TestStates:
    def test_start_and_finish_are_said_once(self, run_dir: Path) -> None:
        run = get(run_dir)

        for _ in range(2):
            run.start()
        started = run.state
        for _ in range(2):
            run.finish()

        assert (started, run.state) == ("RUNNING", "FINISHED")
        assert ops(run_dir) == ["start", "finish"]

    def test_fail_keeps_the_reason(self, run_dir: Path) -> None:
        run = get(run_dir)

        run.fail("no convergence")
        run.fail("again")

        (entry,) = entries(run_dir)
        assert (entry["op"], entry["reason"], run.state) == ("fail", "no convergence", "FAILED")

    @pytest.mark.parametrize("again", [False, True])
    def test_what_came_first_stays_and_the_second_is_a_warning(
        self, run_dir: Path, again: bool
    ) -> None:
        run = get(run_dir)
        run.finish()
        if again:
            run = get(run_dir)

        with pytest.warns(RuntimeWarning, match=r"FINISHED already: fail\(\) is ignored"):
            run.fail()
        with pytest.warns(RuntimeWarning, match=r"start\(\) is ignored"):
            run.start()

        assert (run.state, ops(run_dir)) == ("FINISHED", ["finish"])

    @pytest.mark.parametrize("state", ["CREATED", "SUBMITTED"])
    def test_script_does_not_put_its_own_run_back(self, run_dir: Path, state: str) -> None:
        run = get(run_dir)

        with pytest.raises(SchemaError, match=f"found '{state}'; .* an action does"):
            run.state = state

        assert (run.state, ops(run_dir)) == ("RUNNING", [])

    def test_state_that_is_not_a_scripts_is_not_read_from_a_journal(
        self, run_dir: Path
    ) -> None:
        run = get(run_dir)

        run._record("set", name="state", value="CREATED")

        assert (run.state, get(run_dir).state) == ("RUNNING", "RUNNING")

    def test_finish_after_fail_is_a_warning(self, run_dir: Path) -> None:
        run = get(run_dir)
        run.fail()

        with pytest.warns(RuntimeWarning, match=r"FAILED already: finish\(\) is ignored"):
            run.finish()

        assert (run.state, ops(run_dir)) == ("FAILED", ["fail"])

    @pytest.mark.parametrize(
        ("state", "op", "seen"),
        [
            ("FINISHED", "finish", "FINISHED"),
            ("FAILED", "fail", "FAILED"),
            ("FAILURE", "fail", "FAILED"),
            ("SLURM submit", "set", "SLURM submit"),
        ],
    )
    def test_state_may_be_set_like_an_entry(
        self, run_dir: Path, state: str, op: str, seen: str
    ) -> None:
        run = get(run_dir)

        run.state = state

        assert (run.state, ops(run_dir)) == (seen, [op])

    def test_own_state_may_follow_finish(self, run_dir: Path) -> None:
        run = get(run_dir)
        run.finish()

        run.state = "FORWARDED"

        assert (run.state, ops(run_dir)) == ("FORWARDED", ["finish", "set"])
        assert get(run_dir).state == "FORWARDED"

    @pytest.mark.parametrize("state", ["", "  ", 3, None])
    def test_state_is_a_word(self, run_dir: Path, state: Any) -> None:
        with pytest.raises(SchemaError, match="a state is a word"):
            get(run_dir).state = state


class TestRunning:
    def test_block_starts_and_finishes(self, run_dir: Path) -> None:
        with motoko.running(str(run_dir)) as (run, job):
            inside = ops(run_dir)
            run.y = job.x

        assert (inside, ops(run_dir)) == (["start"], ["start", "set", "finish"])
        assert run.state == "FINISHED"

    def test_exception_fails_with_its_traceback_and_goes_on(self, run_dir: Path) -> None:
        with pytest.raises(ZeroDivisionError), motoko.running(str(run_dir)):
            1 / 0  # noqa: B018

        entry = entries(run_dir)[-1]
        assert (entry["op"], entry["error"]) == ("fail", "ZeroDivisionError")
        assert entry["message"] == "division by zero"
        assert entry["reason"] == "ZeroDivisionError: division by zero"
        assert "1 / 0" in entry["traceback"]
        assert "test_job_record.py" in entry["traceback"]

    @pytest.mark.parametrize(
        ("code", "op"),
        [(None, "finish"), (0, "finish"), (2, "fail"), ("no input", "fail"), (0.0, "fail")],
    )
    def test_exit_is_judged_by_its_code(self, run_dir: Path, code: Any, op: str) -> None:
        with pytest.raises(SystemExit), motoko.running(str(run_dir)):
            raise SystemExit(code)

        assert ops(run_dir) == ["start", op]

    def test_what_the_block_said_stays(self, run_dir: Path) -> None:
        with pytest.raises(ValueError, match="late"), motoko.running(str(run_dir)) as (run, _):
            run.finish()
            raise ValueError("late")

        assert ops(run_dir) == ["start", "finish"]

    def test_failing_inside_the_block_is_no_finish_at_its_end(self, run_dir: Path) -> None:
        with warnings.catch_warnings(), motoko.running(str(run_dir)) as (run, _):
            warnings.simplefilter("error")
            run.fail("bad")

        assert ops(run_dir) == ["start", "fail"]

    def test_fork_that_leaves_the_block_does_not_speak_for_the_run(self, run_dir: Path) -> None:
        try:
            with motoko.running(str(run_dir)) as (_, _):
                pid = os.fork()
                if pid == 0:
                    raise SystemExit(1)
                os.waitpid(pid, 0)
        except SystemExit:
            os._exit(1)

        assert ops(run_dir) == ["start", "finish"]

    def test_full_disk_does_not_hide_the_exception(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError("disk full")

        with pytest.warns(UserWarning, match="is not recorded: disk full"):  # noqa: SIM117
            with pytest.raises(KeyError, match="mine"), motoko.running(str(run_dir)):
                monkeypatch.setattr("motoko.job.journal.write_all", refuse)
                raise KeyError("mine")

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_full_disk_is_told_from_other_failures(self, run_dir: Path, number: int) -> None:
        with pytest.raises(RuntimeError), motoko.running(str(run_dir)) as (_, _):
            try:
                raise OSError(number, "there is no room " * 100)
            except OSError as error:
                raise RuntimeError("cannot save") from error

        entry = entries(run_dir)[-1]
        assert (entry["error"], entry["no_space"]) == ("RuntimeError", True)
        assert len(entry["traceback"]) == 1_000

    def test_what_came_after_a_full_disk_was_dealt_with_is_another_failure(
        self, run_dir: Path
    ) -> None:
        with pytest.raises(RuntimeError), motoko.running(str(run_dir)):
            try:
                raise OSError(errno.ENOSPC, "full")
            except OSError:
                raise RuntimeError("diverged") from None

        assert "no_space" not in entries(run_dir)[-1]

    def test_message_of_an_endless_traceback_is_cut(self, run_dir: Path) -> None:
        with pytest.raises(ValueError), motoko.running(str(run_dir)):
            raise ValueError("x" * 100_000)

        assert len(entries(run_dir)[-1]["traceback"]) == 20_000


def sets(run_dir: Path) -> list[tuple[str, Any]]:
    return [(e["name"], e["value"]) for e in entries(run_dir) if e["op"] == "set"]


def test_what_a_script_changes_in_place_is_recorded_when_it_has_finished(
    run_dir: Path,
) -> None:
    run = get(run_dir)
    run.tags = []
    run.table = {"a": {"b": 1}}
    run.same = [1, float("nan")]
    run.gone = [1]
    run.tags.append(np.float64(0.5))
    run.table["a"]["b"] = 2
    run.gone.append(2)
    run.gone = 3

    run.finish()

    assert sets(run_dir)[5:] == [("tags", [0.5]), ("table", {"a": {"b": 2}})]
    assert ops(run_dir)[-1] == "finish"


def test_what_was_given_to_a_run_is_not_changed_in_place(run_dir: Path) -> None:
    given = {**FACTS, "run": {**FACTS["run"], "tags": ["b", "a"]}}
    write_facts(run_dir, given)
    run = get(run_dir)
    run.tags.sort()

    run.finish()

    assert ops(run_dir) == ["finish"]


def test_what_no_entry_can_be_is_refused_at_the_end_too(run_dir: Path) -> None:
    run = get(run_dir)
    run.tags = []
    run.tags.append(object())

    with pytest.raises(SchemaError, match="'tags': found <object"):
        run.finish()
    run.fail("no tags")

    assert ops(run_dir) == ["set", "fail"]


def test_what_somebody_else_has_set_since_is_not_changed_in_place(run_dir: Path) -> None:
    run = get(run_dir)
    run.tags, run.table = [1], {"a": 1}
    run.tags.append(2)
    run.table["b"] = 2
    other = get(run_dir)
    other.tags = [1, 2, 3]

    run.finish()

    assert get(run_dir).tags == [1, 2, 3]
    assert get(run_dir).table == {"a": 1, "b": 2}
