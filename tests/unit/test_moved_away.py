"""Nothing is made where a workflow was moved away from, and it is known where it went."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from motoko.cli.running import _stopped_in_words
from motoko.daemon import Office, Use
from motoko.daemon.process import log_to, start
from motoko.errors import RunsFailed
from motoko.store.address import Served, socket_address
from motoko.store.server import Server
from motoko.workflow import whereabouts
from motoko.workflow.workflow import Workflow
from tests.support.workflows import write_workflow


def serve(state_dir: Path) -> None:
    Server([Served(state_dir / "wf.db", socket_address(state_dir))]).start()


@pytest.mark.parametrize(
    "begin",
    [
        lambda state_dir: Office(state_dir / "x.lock", "it").take(),
        lambda state_dir: Use(Office(state_dir / "x.lock", "it")).begin(),
        lambda state_dir: log_to(state_dir / "x.log"),
        lambda state_dir: start(["true"], "it", state_dir / "x.log"),
        serve,
    ],
)
def test_nothing_is_begun_in_a_directory_that_is_gone(
    tmp_path: Path, begin: Callable[[Path], object]
) -> None:
    with pytest.raises(FileNotFoundError):
        begin(tmp_path / "gone" / ".wf")

    assert not (tmp_path / "gone").exists()


def test_a_renamed_directory_is_known_by_its_new_name_and_a_removed_one_is_not(
    tmp_path: Path,
) -> None:
    workflow = Workflow(str(write_workflow(tmp_path / "old", {"mult": None})))
    workflow.run_name = "one"
    with whereabouts.followed(workflow) as moved:
        assert moved() is None
        (tmp_path / "old").rename(tmp_path / "new place")
        for is_replaced in (False, True):
            if is_replaced:
                (tmp_path / "old").mkdir()
            found = moved()
            assert found is not None and found.now == str(tmp_path / "new place")
            assert f"`motoko run '{tmp_path / 'new place'}' --run_name one` goes" in str(found)
        shutil.rmtree(tmp_path / "new place")
        assert moved() is None


def test_failed_runs_of_a_renamed_workflow_are_said_with_its_new_place(tmp_path: Path) -> None:
    workflow = Workflow(str(write_workflow(tmp_path / "old", {"mult": None})))

    with pytest.raises(RunsFailed) as failed, _stopped_in_words(workflow):
        (tmp_path / "old").rename(tmp_path / "new")
        raise RunsFailed([])

    (note,) = failed.value.__notes__
    assert f"was moved to {tmp_path / 'new'}" in note
