"""What the launcher has to record survives a commit that fails, and strangers' words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from motoko.errors import DatabaseUnavailable
from motoko.launch.desk import Desk
from motoko.launch.work import Done, Work
from tests.support.launch_session import (
    create,
    launching,
    new_study,
    row,
    wait_for_attempts,
    wait_for_state,
)

FailOnce = Callable[[Callable[[Work], bool]], list[Work]]
SAY = """
n=$(sed 's/.*"nonce": "\\([^"]*\\)".*/\\1/' .motoko-run.json)
journal=.motoko-journal-1-h-1-a
say() { echo "- {\\"n\\":\\"$1\\",\\"t\\":1,\\"op\\":\\"set\\",$2}" >> $journal; }
"""


@pytest.fixture
def fail_once(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[Work], bool]], list[Work]]:
    """Lets the first commit fail that a question is true of; nothing of it is written."""

    def start(is_it: Callable[[Work], bool]) -> list[Work]:
        failed: list[Work] = []
        write = Desk._write

        def writing(desk: Desk, work: Work) -> Done:
            if not failed and is_it(work):
                failed.append(work)
                raise DatabaseUnavailable("of s", "the connection to the server is lost")
            return write(desk, work)

        monkeypatch.setattr(Desk, "_write", writing)
        return failed

    return start


def test_runs_that_could_not_be_claimed_are_claimed_later(
    tmp_path: Path, fail_once: FailOnce
) -> None:
    with new_study(tmp_path / "s", "true\n") as study:
        create(study, 3)
        failed = fail_once(lambda work: work.n_claims > 0)
        with launching(study):
            wait_for_state(study, "FINISHED", 1, 2, 3)

    assert len(failed) == 1


def test_what_a_script_has_set_is_recorded_after_a_commit_that_failed(
    tmp_path: Path, fail_once: FailOnce
) -> None:
    script = f"""{SAY}
say $n '"name":"norm","value":1.5'
"""
    with new_study(tmp_path / "s", script) as study:
        failed = fail_once(lambda work: any("norm" in r.entries for r in work.records))
        with launching(study):
            create(study)
            wait_for_attempts(study, 1)

        assert row(study)["norm"] == 1.5
        assert row(study)["state"] == "FINISHED"
    assert len(failed) == 1


def test_what_is_said_for_another_attempt_is_not_recorded(tmp_path: Path) -> None:
    script = f"""{SAY}
say stranger '"name":"norm","value":1.5'; say $n '"name":"other","value":2'
"""
    with new_study(tmp_path / "s", script) as study, launching(study):
        create(study)
        wait_for_attempts(study, 1)

        assert row(study)["other"] == 2
        assert "norm" not in row(study)
