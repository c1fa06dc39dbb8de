"""What dies while it starts is started again, so often and not more."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from motoko.cli import running
from motoko.cli.program import program
from motoko.daemon import Office
from motoko.errors import DatabaseFailed, MotokoError, NoSpaceLeft, NotRunning, StartFailed
from motoko.workflow import restarts
from motoko.workflow.restarts import Restarts, until_it_stands
from tests.support.workflows import write_workflow

KILLED = StartFailed("the server", "it was ended by SIGKILL", "log", -signal.SIGKILL)
REFUSED = StartFailed("the server", "a mistake in motoko.yaml", "log", 3)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.setattr(restarts, "_FIRST_PAUSE_S", 0.0)
    return Office(tmp_path / "server.lock", "the server")


class Starts:
    """Fails with these errors, one each time, and stands then."""

    def __init__(self, *errors: MotokoError) -> None:
        self.errors = list(errors)
        self.n = 0

    def __call__(self) -> str:
        self.n += 1
        if self.errors:
            raise self.errors.pop(0)
        return "stands"


def test_what_was_killed_while_it_started_is_started_again(office: Office) -> None:
    starts = Starts(KILLED, NotRunning("the server"))

    assert until_it_stands(starts, [office], lambda: False) == "stands"
    assert starts.n == 3


def test_what_has_stood_for_a_while_is_started_again_as_if_for_the_first_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(restarts, "time", SimpleNamespace(monotonic=lambda: now))
    known = Restarts()

    def die_after(seconds: float) -> float:
        nonlocal now
        now += seconds
        known.stands()
        known.tried()
        return known.wait_s

    assert [die_after(s) for s in (1.0, 2.0, 4.0, 59.0)] == [1.0, 2.0, 4.0, 8.0]
    assert [die_after(s) for s in (61.0, 1.0)] == [1.0, 2.0]


def test_what_dies_each_time_is_given_up(office: Office) -> None:
    starts = Starts(*[KILLED] * 99)

    with pytest.raises(StartFailed, match="SIGKILL"):
        until_it_stands(starts, [office], lambda: False)
    assert starts.n == 5


@pytest.mark.parametrize("error", [REFUSED, DatabaseFailed("of mult", "cannot be read")])
def test_what_says_that_it_cannot_is_believed(office: Office, error: MotokoError) -> None:
    starts = Starts(error)

    with pytest.raises(type(error)):
        until_it_stands(starts, [office], lambda: False)
    assert starts.n == 1


def test_what_somebody_has_stopped_while_it_started_stays_stopped(office: Office) -> None:
    def start() -> None:
        assert not office.was_stopped, "it was stopped"
        office.take()
        owner = office.owner()
        assert owner is not None
        office.ask_to_stop(owner)
        office.leave()
        raise NotRunning(office.what)

    with pytest.raises(NotRunning):
        until_it_stands(start, [office], lambda: False)


def test_a_run_that_gives_up_says_that_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KILLED

    monkeypatch.setattr(running, "_ensure_running", fail)
    write_workflow(tmp_path, {"mult": None})

    given_up = CliRunner().invoke(program, ["run", str(tmp_path)])

    assert given_up.exit_code == 6
    assert "did not start: it was ended by SIGKILL (log: log)" in given_up.stderr
    assert "nothing is lost: once that is mended, the same command goes on" in given_up.stderr


def test_a_full_disk_is_said_at_once_before_anything_has_begun() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise NoSpaceLeft("of variables")

    database = SimpleNamespace(is_hurried=False)
    with pytest.raises(NoSpaceLeft):
        running._patiently(SimpleNamespace(vars=SimpleNamespace(db=database)), call)  # type: ignore[arg-type]

    assert len(calls) == 1
