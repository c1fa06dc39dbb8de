"""What the card of a run says of its attempts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from motoko.cli import orchestration
from motoko.cli.program import program
from motoko.cli.runs import _in_words
from motoko.errors import RunNameNotFound
from motoko.model import states
from motoko.workflow.upkeep import run_changes, run_names
from motoko.workflow.views import overview
from tests.support.workflows import served_workflow


def test_earlier_attempt_says_what_the_next_one_was_given_more_of() -> None:
    attempt = {
        "number": 1,
        "state": "FAILED",
        "class": "out of memory",
        "cause": "killed by SIGKILL",
        "given_more": {"mem": "8GB"},
        "warnings": ["odd"],
    }

    assert _in_words(attempt) == (
        "FAILED (out of memory), killed by SIGKILL, then with mem 8GB\nodd"
    )


def test_card_has_no_heading_without_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_workflow(tmp_path, "mult") as workflow:
        workflow.mult.createTask(x=1.0)
        # As the office of a server in another process would say.
        monkeypatch.setattr("motoko.workflow.opening._open", lambda db, *_: db.connect())

        shown = CliRunner().invoke(program, ["runs", "show", "mult.1", "--dir", str(tmp_path)])

    assert shown.exit_code == 0
    assert "\nrun\n" in shown.output
    assert "batch job" not in shown.output


def test_run_that_has_finished_once_is_not_cancelled(tmp_path: Path) -> None:
    with served_workflow(tmp_path, "mult") as workflow:
        workflow.mult.createTask(x=[1.0, 2.0, 3.0])
        runs = workflow.mult.base.runs
        for run_id, chain in {1: ("FINISHED", "COMPARED"), 2: ("FINISHED",), 3: ()}.items():
            for state in chain:
                runs[run_id].state = state

        changes = run_changes.cancel(workflow, {workflow.mult.base: [1, 2, 3]})

        assert changes.done == ["mult.3"]
        assert changes.left == {
            "mult.1": "is COMPARED, and has finished",
            "mult.2": "is FINISHED",
        }
        assert [runs[i].state for i in (1, 2, 3)] == ["COMPARED", "FINISHED", states.CANCELLED]


def test_run_names_are_listed_with_the_one_begun_last_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motoko.workflow.opening._open", lambda db, *_: db.connect())
    with served_workflow(tmp_path, "mult") as workflow:
        for name in ("z", "m", "a"):
            run_names.record(workflow, name)
            workflow.run_name = name
            workflow.mult.createTask(x=1.0)
        (tmp_path / ".wf" / "wf.db").touch()

        with pytest.raises(RunNameNotFound) as by_info:
            overview.look(workflow, (), "nope")
        with pytest.raises(RunNameNotFound) as by_list:
            run_names.check_known(workflow, "nope")

    assert "(the last: z, m, a)" in str(by_info.value) == str(by_list.value)


def test_shortened_value_ends_between_two_of_its_parts() -> None:
    text = "[1.2345678901234567, 2.2345678901234567, 3.2345678901234567, 4.25]"

    assert orchestration._beginning(text) == "[1.2345678901234567, 2.2345678901234567, ..."
    assert orchestration._beginning("x" * 99) == f"{'x' * 57} ..."
    assert orchestration._beginning("x" * 60) == "x" * 60
