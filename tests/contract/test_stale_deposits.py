"""What runs have deposited that do not count any more is kept, and said to be stale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from motoko.artifacts import Artifact
from motoko.study.study import Study
from motoko.workflow import Workflow, control
from motoko.workflow.upkeep import ending, run_changes
from tests.support.command_line import CommandLine
from tests.support.workflows import no_daemons, run, served_workflow

__all__ = ["no_daemons"]
pytestmark = pytest.mark.usefixtures("no_daemons")

BD_YAML = "study: solve\njob: {x: float}\nartifacts: {field: out/u.txt}\n"
FIELD = "solve/1/field"


@pytest.fixture
def workflow(tmp_path: Path) -> Iterator[Workflow]:
    """Two runs have finished and deposited what they left."""
    with served_workflow(tmp_path, solve=BD_YAML) as found:
        run(found, main, outcome=leaving("first"))
        yield found


async def main(workflow: Workflow, **params: Any) -> None:
    workflow.solve.createTask(x=[1.0, 2.0])


def leaving(text: str, state: str = "FINISHED") -> Callable[[Study, Mapping[str, Any]], str]:
    """What becomes of each run: its attempt, another one than before, leaves this."""

    def leave(study: Study, row: Mapping[str, Any]) -> str:
        place = study.run_dir(row["id"]) / "out"
        place.mkdir(parents=True, exist_ok=True)
        (place / "u.txt").write_text(text)
        number = row.get("attempt", 0) + 1
        facts = {"attempt": number, "nonce": f"nonce {number}", "end_time": 2.0}
        study.database.write(lambda t: t.update_run(row["id"], facts))
        study.database.write(lambda t: t.set_attempt(row["id"], number, facts))
        return state

    return leave


def put_back(workflow: Workflow) -> None:
    workflow.solve.base.database.write(lambda t: t.update_run(1, {"state": "CREATED"}))


def kept(workflow: Workflow) -> dict[str, tuple[str, str | None]]:
    """The artifacts by name: content, and why they are stale."""
    store = workflow.artifacts
    return {a.name: (store.path(a.name).read_text(), a.stale) for a in store.list_artifacts()}


def test_what_a_run_left_that_has_failed_since_is_kept_marked_and_named(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    put_back(workflow)

    run(workflow, main, outcome=leaving("second", "FAILED"))

    assert kept(workflow)[FIELD] == ("first", "solve.1 is FAILED now")
    assert kept(workflow)["solve/2/field"] == ("first", None)
    said = [r.getMessage() for r in caplog.records if r.name.endswith("deposits.lack")]
    assert said[-1] == (
        "1 artifact is stale, and kept as deposited before: solve/1/field (solve.1 is FAILED"
        " now)"
    )
    assert len(said) == len({*said})


def test_what_it_leaves_when_it_finishes_at_last_takes_its_place(workflow: Workflow) -> None:
    put_back(workflow)
    run(workflow, main, outcome=leaving("second", "FAILED"))
    put_back(workflow)

    run(workflow, main, outcome=leaving("third"))

    assert kept(workflow)[FIELD] == ("third", None)


def test_what_a_run_left_that_is_said_to_be_bad_afterwards_is_stale(
    workflow: Workflow,
) -> None:
    workflow.solve.base.database.write(lambda t: t.update_run(1, {"state": "FAILED"}))
    run(workflow, main)
    bad = kept(workflow)[FIELD]
    workflow.solve.base.database.write(lambda t: t.update_run(1, {"state": "FORWARDED"}))

    run(workflow, main)

    assert bad == ("first", "solve.1 is FAILED now")
    assert kept(workflow)[FIELD] == ("first", None)


def delete(workflow: Workflow) -> None:
    run_changes.delete(workflow, {workflow.solve.base: [1]}, keeps_files=True)


def clean(workflow: Workflow) -> None:
    ending.clean(workflow, ["solve"], ["id = 1"], keep_backup=True, current_files=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (put_back, "solve.1 is CREATED now"),
        (clean, "solve.1 is CREATED now"),
        (delete, "there is no solve.1 any more"),
    ],
)
def test_commands_show_what_is_stale_by_now(
    workflow: Workflow,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Workflow], None],
    why: str,
) -> None:
    monkeypatch.setattr(control, "ensure_served", lambda workflow: None)
    line = CommandLine(workflow.directory)
    before = line.run("artifacts", "verify", "artifacts").stdout
    change(workflow)

    listed = line.json("artifacts", "list", "artifacts")
    shown = line.run("artifacts", "list", "artifacts").stdout
    checked = line.run("artifacts", "verify", "artifacts", code=10).stdout
    line.run("artifacts", "export", "artifacts", "all.tar")

    assert before == "checked 2 artifacts: no problems\n"
    assert [artifact["stale"] for artifact in listed] == [why, None]
    assert shown.splitlines()[1].endswith(why)
    assert checked.startswith(f"{FIELD}: stale ({why}) (")
    assert kept(workflow)[FIELD] == ("first", why)  # so whoever has the store alone knows it


def test_what_is_stale_is_removed_on_demand(workflow: Workflow) -> None:
    line = CommandLine(workflow.directory)
    put_back(workflow)

    said = line.run("artifacts", "remove", "artifacts", "--stale").stdout
    line.run("artifacts", "remove", "artifacts", code=2)

    assert said == "removed 1 artifact\n"
    assert list(kept(workflow)) == ["solve/2/field"]


def test_store_that_cannot_be_written_is_shown_as_the_databases_have_it(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motoko.artifacts import ArtifactStore
    from motoko.workflow import deposited

    def refuse(store: ArtifactStore, whys: Mapping[Artifact, str | None]) -> None:
        raise PermissionError

    put_back(workflow)
    monkeypatch.setattr(ArtifactStore, "mark_stale", refuse)

    found = deposited.refreshed(workflow)

    assert [artifact.stale for artifact in found] == ["solve.1 is CREATED now", None]


def test_damage_of_what_is_stale_does_not_end_the_workflow(workflow: Workflow) -> None:
    put_back(workflow)
    workflow.artifacts.path(FIELD).write_text("something else")

    run(workflow, main, outcome=leaving("second", "FAILED"))

    assert kept(workflow)[FIELD] == ("something else", "solve.1 is FAILED now")


def nothing_to_do(study: Study, row: Mapping[str, Any]) -> str:
    """What becomes of a run whose files say that it is finished."""
    run_dir = study.run_dir(row["id"])
    (run_dir / "attempt-1").mkdir()
    (run_dir / "out").rename(run_dir / "attempt-1/out")
    row_facts = {"attempt": 2, "nonce": "nonce 2", "end_time": 3.0}
    study.database.write(lambda t: t.update_run(row["id"], row_facts))
    study.database.write(lambda t: t.set_attempt(row["id"], 2, {"executed": False}))
    return "FINISHED"


def test_attempt_in_which_nothing_was_executed_has_what_the_one_before_left(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    put_back(workflow)
    run(workflow, main, outcome=nothing_to_do)
    stayed = kept(workflow)
    workflow.artifacts.path(FIELD).write_text("something else")

    run(workflow, main)

    assert stayed[FIELD] == kept(workflow)[FIELD] == ("first", None)
    assert "left no" not in caplog.text


def test_artifact_of_an_attempt_that_was_set_aside_is_no_artifact_of_its_run(
    tmp_path: Path,
) -> None:
    yaml = "study: solve\njob: {x: float}\nartifacts: {fields: '**/u.txt'}\n"

    def second(study: Study, row: Mapping[str, Any]) -> str:
        aside = study.run_dir(row["id"]) / "attempt-1"
        aside.mkdir(parents=True)
        (aside / "u.txt").write_text("of an attempt that failed")
        return leaving("second")(study, {**row, "attempt": 1})

    with served_workflow(tmp_path, solve=yaml) as workflow:
        run(workflow, main, outcome=second)

        assert [name for name in kept(workflow) if name.startswith("solve/1/")] == [
            "solve/1/fields/out/u.txt"
        ]
