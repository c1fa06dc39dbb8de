"""Going through many runs gives what looking at each by itself gives, with few questions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from motoko.store import ahead, rows
from motoko.store.feed import FeedingStorage
from motoko.study.study import Study
from tests.support.studies import running_study

N_RUNS = 1000
CONSTRAINTS = [
    "x != 7",
    "create_time > 0",
    "create_time > 0, x != 5",
    "create_time > 0, id > 333, id <= 801",
    "id > 50, x != 60",
    "id > 2000, x != 60",
    "id < 0, x != 60",
    "job_id > 20, x != 30",
    "x > 100, create_time > 0",
    "state = CREATED, x != 3",
    "run_name = b, x != 4",
    "run_name != c, s != q",
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """Half of the runs are of another run name, on the same jobs."""
    with running_study(tmp_path_factory.mktemp("mult")) as found:
        for run_name in ("a", "b"):
            points = {"x": [float(i) for i in range(N_RUNS // 2)], "s": "a"}
            found.create_tasks(points, None, run_name=run_name, event_name="main")
        yield found


@pytest.fixture
def cold(study: Study) -> Study:
    study.database.close()
    study.database.connect()
    return study


@pytest.mark.parametrize("text", CONSTRAINTS)
@pytest.mark.parametrize("fetched", [7, 100, 4096])
def test_it_gives_what_looking_at_each_run_gives(
    cold: Study, text: str, fetched: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_FETCHED", fetched)
    monkeypatch.setattr(rows, "_WORTH_FETCHING", 3)
    monkeypatch.setattr(ahead, "_LEAVES", 1 + fetched // 30)

    def asked(tables: Any) -> tuple[list[int], list[int]]:
        constraint = tables.parse(text)
        found = tables.select(constraint)
        return found, [i for i in tables.run_ids() if tables.matches(constraint, i)]

    found, each = cold.ask(asked)

    assert found == each


@pytest.mark.parametrize("text", ["create_time > 0", "create_time > 0, run_name = a", "x != 7"])
def test_leaves_are_asked_for_many_at_once(
    cold: Study, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    prefetch = FeedingStorage.prefetch

    def counted(self: FeedingStorage, oids: list[bytes], tid: bytes) -> Any:
        oids = list(oids)
        asked.append(len(oids))
        return prefetch(self, oids, tid)

    monkeypatch.setattr(FeedingStorage, "prefetch", counted)
    cold.ask(lambda tables: tables.select(tables.parse(text)))

    with_jobs = text.startswith("x")
    n_runs = N_RUNS // 2 if "run_name" in text else N_RUNS
    assert sum(asked) >= n_runs // 31 + with_jobs * (N_RUNS // 2 // 61)
    assert len(asked) <= 2


def test_a_run_that_only_an_index_has_is_passed_over(cold: Study) -> None:
    def without_one(tables: Any) -> list[int]:
        del tables.trees["runs"][500]
        del tables.trees["runs"][N_RUNS]
        return list(tables.select(tables.parse("run_name = b, x != 4")))

    class Undone(Exception):
        pass

    def tried(tables: Any) -> None:
        raise Undone(without_one(tables))

    with pytest.raises(Undone) as undone:
        cold.database.write(tried)

    (found,) = undone.value.args
    assert len(found) == N_RUNS // 2 - 2
    assert N_RUNS not in found
