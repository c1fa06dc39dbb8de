"""Workflows with a real server in this process and a stand-in for the launcher, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from motoko.store.server import Server
from motoko.store.tables import Tables
from motoko.study.study import Study
from motoko.workflow import Workflow, control
from tests.support.studies import write_study

DEADLINE_S = 30
ORCHESTRATOR = "async def main(workflow, **params):\n    workflow.finished = True\n"


def write_workflow(
    directory: Path,
    studies: Mapping[str, str | None],
    orchestrator: str = ORCHESTRATOR,
    more: str = "",
) -> Path:
    """A workflow's directory with these studies (name to ``bd.yaml``, None for a usual one)."""
    directory.mkdir(parents=True, exist_ok=True)
    names = "".join(f"  {name}:\n" for name in studies)
    text = f"task_managers:\n{names}orchestrator: orchestrator.main\n{more}"
    (directory / "motoko.yaml").write_text(text)
    (directory / "orchestrator.py").write_text(orchestrator)
    for name, yaml in studies.items():
        write_study(directory / name, yaml)
    return directory


@contextmanager
def served_workflow(
    directory: Path, *names: str, more: str = "", **texts: str
) -> Iterator[Workflow]:
    """A new workflow with these studies (``texts`` are those with a ``bd.yaml`` of their own),
    its databases served from threads."""
    write_workflow(directory, {**dict.fromkeys(names), **texts}, more=more)
    workflow = Workflow(str(directory))
    server = Server(control.served(workflow))
    server.start()
    try:
        workflow.initialise()
        workflow.run_name = "test"
        yield workflow
    finally:
        workflow.close()
        server.close()


def finish_all(study: Study, row: Mapping[str, Any]) -> str:
    """What becomes of each run: it finishes."""
    return "FINISHED"


@asynccontextmanager
async def executed(
    workflow: Workflow, outcome: Callable[[Study, Mapping[str, Any]], str | None] = finish_all
) -> AsyncIterator[None]:
    """Give each CREATED run that waits for no step the state that ``outcome`` says (None: leave
    it), as a launcher would, as soon as it is seen."""
    stops = []

    def watch(study: Study) -> None:
        def look(tables: Tables, changed: set[int] | None) -> None:
            for run_id in sorted(tables.all_ready()):
                row = tables.run(run_id)
                state, number = outcome(study, row), row.get("attempt", 0) + 1
                if state is not None:
                    study.database.write(partial(conclude, run_id, state, number))

        stops.append(study.lookout.watch(look))

    for manager in workflow.task_managers.values():
        watch(manager.base)
    try:
        yield
    finally:
        for stop in stops:
            stop()


async def until(workflow: Workflow, question: Callable[[], object]) -> None:
    """Wait until it is true; it is asked at every change of a database."""
    has_news = anyio.Event()

    def notice(*_: object) -> None:
        has_news.set()

    studies = [manager.base for manager in workflow.task_managers.values()]
    stops = [workflow.on_change(notice), *(study.lookout.watch(notice) for study in studies)]
    try:
        with anyio.fail_after(DEADLINE_S):
            while True:
                has_news = anyio.Event()
                if question():
                    return
                await has_news.wait()
    finally:
        for stop in stops:
            stop()


def conclude(run_id: int, state: str, number: int, tables: Tables) -> None:
    """End a run that is still CREATED, as its attempt of this number does."""
    if tables.run(run_id)["state"] != "CREATED":
        return
    finished = {"has_finished": 1} if state == "FINISHED" else {}
    tables.update_run(run_id, {"state": state, "attempt": number, **finished})
    if state == "FAILED":
        tables.set_attempt(run_id, number, {"class": "application", "cause": "exit code 1"})


@pytest.fixture
def no_daemons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workflows run on the server of the test, with the stand-in for the launcher."""
    monkeypatch.setattr(control, "ensure_running", lambda workflow: None)


def run(
    workflow: Workflow,
    main: Callable[..., Awaitable[Any]],
    *,
    outcome: Callable[[Study, Mapping[str, Any]], str | None] | None = finish_all,
    seconds: float = 30,
    **params: Any,
) -> int:
    """Run a workflow with this ``main``; its exit code. What hangs fails after ``seconds``."""

    async def work() -> int:
        workflow.orchestrator_function = main
        with anyio.fail_after(seconds):
            if outcome is None:
                return await workflow.run(**params)
            async with executed(workflow, outcome):
                return await workflow.run(**params)

    return anyio.run(work)
