"""Every process may die between any two of its effects, and nobody can tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from motoko.crashpoints import POINTS
from motoko.other_crashpoints import OTHER_POINTS
from tests.support import three_studies
from tests.support.processes import kill_processes_of
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
#: Points that a workflow comes to before the first firing, and after the last.
_BEFORE = {
    *("daemon.spawned", "office.locked", "database.begun", "database.made", "run.named"),
    *("orchestrator.taken", "orchestrator.claimed", "run.begun", "call.done"),
    "main.returned",
}
_AFTER = {"workflow.finished", "workflow.recorded", "stop.asked"}
#: Those that it may not come to any more if something was left to run by a command that died.
_LAST = {
    *("orchestrator.unclaimed", "office.passed", "stop.told"),
    *("launcher.ending", "launcher.closed", "server.ending", "server.closed"),
}
#: To how many places of a kind one workflow can come, where that is more than one.
_MOST = {"before": 2, "orchestrator": 2, "launcher": 2}
LONGEST_S = 60


def points(place: str) -> list[str]:
    """The points where something dies for a place, the one that it is about last."""
    return [re.sub(r"#\d+$", "", entry) for entry in place.split(";")]


def is_lost_at(place: str) -> bool:
    """Whether an attempt may be lost there, for a reason that is recorded."""
    return "vanished" in {**POINTS, **OTHER_POINTS}[points(place)[-1]].then


def groups(places: Sequence[str]) -> list[list[str]]:
    """Places at which one workflow can come by, one after the other."""
    found: list[list[str]] = []
    for place in sorted(places, key=lambda place: "#" not in place):
        group = next((group for group in found if _has_room(group, place)), None)
        if group is None:
            found.append(group := [])
        group.append(place)
    return found


def _has_room(group: Sequence[str], place: str) -> bool:
    if any(_is_last(other) != _is_last(place) for other in group):
        return False
    kind = _kind(place)
    beside = [other for other in group if _kind(other) == kind]
    is_counted = any("#" in other for other in [*beside, place])  # each process begins anew
    most = 1 if is_counted and kind == "orchestrator" else _MOST.get(kind, 1)
    taken = {point for other in group for point in points(other)}
    return len(beside) < most and taken.isdisjoint(points(place))


def _is_last(place: str) -> bool:
    return points(place)[-1] in _LAST


def _kind(place: str) -> str:
    point = points(place)[-1]
    if point in _LAST:
        return f"last of {point.split('.')[0]}"
    if point in _BEFORE:
        return "before"
    if point in _AFTER:
        return "after"
    process = POINTS[point].process
    return "orchestrator" if process.startswith("any") else process


@dataclass
class Driven:
    """What became of a workflow that was started until it came to its end."""

    places: Sequence[str]
    codes: list[int]
    output: str
    unreached: list[str]
    ended: Ended | None

    def differences(self, undisturbed: Ended) -> list[str]:
        """What tells it from a workflow in which nothing died."""
        found = [f"nothing died at {entry}" for entry in self.unreached]
        if self.codes[-1] != 0:
            found.append(f"exit codes {self.codes}: {self.output}")
        if self.ended is None:
            return [*found, "nothing to read"]
        found += self.ended.wrong
        if self.ended.rows != undisturbed.rows:
            found.append(f"rows {self.ended.rows}, not {undisturbed.rows}")
        if self.ended.variables != undisturbed.variables:
            found.append(f"variables {self.ended.variables}, not {undisturbed.variables}")
        if self.ended.n_lost.total() > sum(map(is_lost_at, self.places)):
            found.append(f"attempts were lost: {self.ended.n_lost}")
        if self.ended.n_killed.total():
            found.append(f"attempts were killed: {self.ended.n_killed}")
        return found


class Drivable(Protocol):
    """A workflow that is written, started again and again, and read at its end."""

    def write(self, directory: Path) -> None: ...

    def read(self, directory: Path) -> Ended: ...


def drive(
    directory: Path,
    places: Sequence[str] = (),
    workflow: Drivable = three_studies,
    options: Sequence[str] = (),
) -> Driven:
    """Start the workflow until it ends well; some process of it dies at each of the places."""
    workflow.write(directory)
    entries = [entry for place in places for entry in place.split(";")]
    files = {entry: directory / f"died-{i}" for i, entry in enumerate(entries)}
    crash_at = ";".join(f"{entry}:{file}" for entry, file in files.items())
    output = directory / "output"
    driven = Driven(places, [], "", [], None)
    try:
        while len(driven.codes) < len(entries) + 2 and 0 not in driven.codes:
            with three_studies.start(
                directory, *options, output=output, crash_at=crash_at
            ) as process:
                try:
                    process.wait(LONGEST_S)
                finally:
                    process.kill()
            driven.codes.append(process.returncode)
        driven.unreached = [entry for entry, file in files.items() if not file.exists()]
        driven.output = output.read_text()
        driven.ended = workflow.read(directory)
    finally:
        kill_processes_of(directory)
    return driven


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """What is left of a workflow in which nothing dies."""
    ended = drive(tmp_path_factory.mktemp("w")).ended
    assert ended is not None and ended.wrong == []
    return ended


@pytest.mark.timeout(300)
@pytest.mark.parametrize("places", groups(PLACES), ids=" ".join)
def test_nobody_can_tell_that_processes_have_died(
    places: list[str], undisturbed: Ended, tmp_path: Path
) -> None:
    differences = drive(tmp_path / "together", places).differences(undisturbed)

    if differences:
        alone = {
            place: drive(tmp_path / place, [place]).differences(undisturbed) for place in places
        }
        pytest.fail(f"{differences}\neach place alone: {alone}", pytrace=False)


def test_quantities_are_whole_whoever_has_died(undisturbed: Ended, tmp_path: Path) -> None:
    places = ["quantity.aside", "quantity.named", "quantity.appended"]

    driven = drive(tmp_path, places, options=["--retry"])

    assert (driven.unreached, driven.codes[-1]) == ([], 0), driven.output
    assert driven.ended is not None and driven.ended.wrong == []
    assert driven.ended.n_killed.total() == len(places)
    assert driven.ended.rows == undisturbed.rows
    assert driven.ended.variables == undisturbed.variables


def test_every_place_is_in_one_workflow() -> None:
    assert sorted(place for group in groups(PLACES) for place in group) == sorted(PLACES)


def test_command_starts_another_server_when_its_own_has_died(tmp_path: Path) -> None:
    found = drive(tmp_path, ["server.voted"])

    assert (found.unreached, found.codes) == ([], [0])
