"""Laws of the store under any interleaving of sessions in two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motoko.store.audit import problems
from tests.support.effort import examples
from tests.support.studies import ROOT, open_study, server_process, write_study

POINTS = st.lists(st.integers(0, 40).map(float), min_size=1, max_size=12)
STEP = st.one_of(
    st.tuples(st.just("create"), POINTS),
    st.tuples(st.just("add"), st.integers(1, 6), st.integers(1, 9)),
    st.tuples(st.just("mark"), st.just(1), st.integers(1, 10**6)),
    st.tuples(st.just("advance"), st.integers(1, 20)),
)
SCRIPT = st.lists(STEP, min_size=1, max_size=12)
NUMBERS = count()


@pytest.fixture(scope="module")
def workers() -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "tests.support.session_worker"]
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
                )
            )
            for _ in range(2)
        ]
        yield started
        for worker in started:
            worker.kill()


@pytest.mark.timeout(300)
@given(scripts=st.tuples(SCRIPT, SCRIPT))
@settings(
    max_examples=examples(5, 25),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_interleaved_sessions_lose_nothing_and_show_no_half(
    tmp_path: Path, workers: list[subprocess.Popen[str]], scripts: tuple[Any, Any]
) -> None:
    study = open_study(write_study(tmp_path / f"s{next(NUMBERS)}"))
    with server_process(study), closing(study):
        study.initialise()
        study.create_tasks({"x": [100.0, 101.0]}, None, run_name="a", event_name="main")

        for worker, script in zip(workers, scripts, strict=True):
            assert worker.stdin is not None
            worker.stdin.write(json.dumps([str(study.directory), script]) + "\n")
            worker.stdin.flush()
        results = []
        for worker in workers:
            marks = _watched_marks(study, worker)
            assert all(first == second for first, second in marks)
            assert worker.stdout is not None
            results.append(json.loads(worker.stdout.readline()))

        study.close()  # a new connection begins with what is newest
        tables = study.tables
        assert problems(tables) == []
        assert list(tables.run_ids()) == list(range(1, tables.n_runs + 1))
        points = [tables.job(tables.run(i)["job_id"])["x"] for i in tables.run_ids()]
        asked = {
            x
            for script in scripts
            for kind, *rest in script
            if kind == "create"
            for x in rest[0]
        }
        assert sorted(points) == sorted(asked | {100.0, 101.0})
        added = sum(
            result or 0
            for script, found in zip(scripts, results, strict=True)
            for (kind, *_), result in zip(script, found, strict=True)
            if kind == "add"
        )
        assert sum(study.run(i).get("total") or 0 for i in tables.run_ids()) == added


def _watched_marks(study: Any, worker: subprocess.Popen[str]) -> list[tuple[Any, Any]]:
    """What a reader sees of the two marks that are always set together, while others write."""
    import select

    seen = []
    while not select.select([worker.stdout], [], [], 0)[0]:
        with study.database.read() as tables:
            seen.append(tuple(tables.run(i).get("mark") for i in (1, 2)))
    return seen
