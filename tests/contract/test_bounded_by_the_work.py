"""Nothing waits for a poll, and no question reads what it need not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.launch.launcher import LauncherSettings, launch
from motoko.store.address import socket_address
from motoko.store.tables import Tables
from motoko.workflow import Workflow
from tests.support.studies import running_study
from tests.support.workflows import no_daemons, served_workflow

__all__ = ["no_daemons"]
FOR_EVER_S = 1e6


@pytest.mark.usefixtures("no_daemons")
def test_a_chain_over_two_studies_needs_no_timer(tmp_path: Path) -> None:
    async def forward(runs: Any, workflow: Workflow, **params: Any) -> None:
        for run, job in runs:
            run.state = "FORWARDED"
            await workflow.norm.createTask(x=job.x)
        workflow.finished = len(workflow.norm.select("state = FINISHED")) == 4

    async def main(workflow: Workflow, **params: Any) -> None:
        workflow.add_action("forward", "mult", "state = FINISHED", f=forward)
        for x in range(4):
            await workflow.mult.createTask(x=float(x))

    async def work(workflow: Workflow) -> None:
        settings = LauncherSettings(
            knock=socket_address(workflow.state_dir, "knock.sock"),
            python_dir=workflow.state_dir / "python",
            poll_s=FOR_EVER_S,
        )
        studies = [manager.base for manager in workflow.task_managers.values()]
        workflow.wait_s = FOR_EVER_S
        workflow.orchestrator_function = main
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: launch(studies, settings=settings))
                await workflow.run()
                group.cancel_scope.cancel()

    with served_workflow(tmp_path, "mult", "norm") as workflow:
        anyio.run(work, workflow)
        assert workflow.mult.base.counts() == {"FORWARDED": 4}
        assert workflow.norm.base.counts() == {"FINISHED": 4}


@pytest.mark.parametrize(
    ("constraint", "n_rows", "n_found"),
    [
        (None, 0, 500),
        ("state = FINISHED", 0, 10),
        ("state = FINISHED and run_name = a", 0, 10),
        ("x = 17", 1, 1),
        ("x > 495 and state = CREATED", 5, 4),
        ("state = CREATED and x > 495", 5, 4),
        ("id <= 3", 3, 3),
        ("x = 17 or x = 18", 2, 2),
    ],
)
def test_a_selection_reads_no_more_rows_than_can_match(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    constraint: str | None,
    n_rows: int,
    n_found: int,
) -> None:
    with running_study(tmp_path / "mult") as study:
        points = [float(i) for i in range(500)]
        study.create_tasks({"x": points}, None, run_name="a", event_name="m")
        for run_id in range(1, 11):
            study.run(run_id).state = "FINISHED"
        read: list[int] = []
        decode = Tables.run

        def counted(tables: Tables, run_id: int) -> Any:
            read.append(run_id)
            return decode(tables, run_id)

        monkeypatch.setattr(Tables, "run", counted)
        found = study.select(study.parse(constraint))

        assert len(read) <= n_rows
        assert len(found) == n_found
