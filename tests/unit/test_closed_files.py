"""Files and directories of one's own whose modes forbid what is to be done."""

from __future__ import annotations

from pathlib import Path

import pytest

from motoko.cli import exit_codes
from motoko.errors import DatabaseClosed
from motoko.workflow import opening, whereabouts
from motoko.workflow.workflow import Workflow
from tests.support.powers import without_powers
from tests.support.workflows import served_workflow, write_workflow


def test_a_state_directory_of_ones_own_is_not_said_to_be_anothers(tmp_path: Path) -> None:
    workflow = Workflow(str(write_workflow(tmp_path / "w", {"mult": None})))
    workflow.state_dir.mkdir(mode=0o555)
    words = rf"is not writable for you \(mode 555\); `chmod u\+w {workflow.state_dir}`"

    with without_powers(), pytest.raises(PermissionError, match=words):
        whereabouts.check_own(workflow)


def test_a_database_that_may_not_be_read_says_how_it_can_be(tmp_path: Path) -> None:
    with served_workflow(tmp_path / "w", "mult") as served:
        file = served.mult.base.database_file
    file.chmod(0)
    workflow = Workflow(str(tmp_path / "w"))
    words = rf"is not readable for you \(mode 000\); .*`chmod u\+rw {file}`"

    with without_powers(), pytest.raises(DatabaseClosed, match=words) as refused:
        opening.open_all(workflow)

    assert exit_codes.of(refused.value) == exit_codes.SYSTEM
