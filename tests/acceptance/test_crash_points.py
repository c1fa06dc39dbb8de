"""Every process may die between any two of its effects, and nobody can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from motoko.crashpoints import POINTS
from tests.support import three_studies
from tests.support.three_studies import Ended

pytestmark = pytest.mark.slow

#: Where else than at the first time that a process is there, or after which other death.
_PLACES = {
    "daemon.spawned": ["daemon.spawned", "daemon.spawned#2"],
    "call.done": ["call.done", "orchestrator.taken;call.done"],
    "firing.begun": ["firing.begun", "firing.begun#4"],
    "commit.begun": ["commit.begun", "commit.begun#4"],
    "commit.decided": ["commit.decided", "commit.decided#4"],
    "commit.applied": ["commit.applied", "commit.applied#2", "commit.applied#5"],
    "commit.through": ["commit.through", "commit.through#4"],
    "firing.kept": ["firing.kept", "firing.kept#3"],
    "firing.ended": ["firing.ended", "firing.ended#3"],
    "recovery.applied": ["commit.decided;recovery.applied"],
    "recovery.forgotten": ["commit.applied;recovery.forgotten"],
    "server.voted": ["server.voted", "server.voted#15", "server.voted#30"],
    "server.replied": ["server.replied", "server.replied#15", "server.replied#30"],
    "launcher.claimed": ["launcher.claimed", "launcher.claimed#2"],
    "rundir.clearing": ["rundir.clearing", "rundir.clearing#3"],
    "rundir.touched": ["rundir.touched", "rundir.touched#3"],
    "journal.written": ["journal.written#4"],  # in a script that has said finish()
    "launcher.recorded": ["launcher.recorded", "launcher.recorded#4"],
    "launcher.adopted": ["launcher.spawned;launcher.adopted"],
}
PLACES = [place for point in POINTS for place in _PLACES.get(point, [point])]
MOST_STARTS = 4
LONGEST_S = 60


def last_point(place: str) -> str:
    """The point that a place is about."""
    return re.sub(r"#\d+$", "", place.rpartition(";")[2])


def is_lost_at(place: str) -> bool:
    """Whether an attempt may be lost there, for a reason that is recorded."""
    return "vanished" in POINTS[last_point(place)].then


@dataclass
class Driven:
    """What became of a workflow that was started until it came to its end."""

    codes: list[int]
    output: str
    unreached: list[str]
    ended: Ended | None


def drive(directory: Path, place: str = "") -> Driven:
    """Start the workflow until it ends well; some process of it dies at each of the places."""
    three_studies.write(directory)
    places = {entry: directory / f"died-{i}" for i, entry in enumerate(place.split(";"))}
    crash_at = ";".join(f"{entry}:{file}" for entry, file in places.items() if entry)
    output = directory / "output"
    driven = Driven([], "", [], None)
    try:
        while len(driven.codes) < MOST_STARTS and 0 not in driven.codes:
            with three_studies.start(directory, output=output, crash_at=crash_at) as process:
                try:
                    process.wait(LONGEST_S)
                finally:
                    process.kill()
            driven.codes.append(process.returncode)
        driven.unreached = [entry for entry, file in places.items() if not file.exists()]
        driven.output = output.read_text()
        driven.ended = three_studies.read(directory)
    finally:
        three_studies.end_everything(directory)
    return driven


@pytest.fixture(scope="module")
def driven(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Driven]]]:
    """The workflow at each place that is asked for, two at a time; "" is undisturbed."""
    asked = [
        item.callspec.params["place"]
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec")
    ]
    with ThreadPoolExecutor(2) as pool:
        yield {
            place: pool.submit(drive, tmp_path_factory.mktemp("w"), place)
            for place in ["", *asked]
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", PLACES)
def test_nobody_can_tell_that_a_process_has_died(
    place: str, driven: dict[str, Future[Driven]]
) -> None:
    undisturbed, found = driven[""].result().ended, driven[place].result()

    assert found.unreached == []
    assert found.codes[-1] == 0, found.output
    assert undisturbed is not None and found.ended is not None
    assert (undisturbed.wrong, found.ended.wrong) == ([], [])
    assert found.ended.rows == undisturbed.rows
    assert found.ended.variables == undisturbed.variables
    assert is_lost_at(place) or not found.ended.n_lost.total(), found.ended.n_lost
    assert not found.ended.n_killed.total()
