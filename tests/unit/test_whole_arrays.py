"""Arrays that a script has named: what is told of their jobs, taken together."""

from __future__ import annotations

from motoko.launch.batch_generator import JobStatus, Phase
from motoko.launch.tracking import Pace, Tracker

RUNS, WAITS = (Phase.RUNNING, "RUNNING"), (Phase.PENDING, "PENDING")
WELL, BADLY = (Phase.ENDED, "COMPLETED", 0), (Phase.ENDED, "FAILED", 3)
UNTOLD = (Phase.ENDED, "FAILED", None)


def tracker() -> Tracker:
    """One that looks after an array, and after a job of another one."""
    found = Tracker(Pace(least_s=1.0, n_confirm=2, confirm_s=5.0, unseen_s=10.0))
    found.track("7", "", 0.0)
    found.track("8_1", "motoko-s-1", 0.0)
    return found


def said(**jobs: tuple[object, ...]) -> dict[str, JobStatus]:
    """An answer that tells of these jobs: their numbers behind an underscore."""
    ids = {f"7{number}": fields for number, fields in jobs.items()}
    told = {
        i: JobStatus(i, phase, state, exit_code=code[0] if code else None)  # type: ignore[arg-type]
        for i, (phase, state, *code) in ids.items()
    }
    return {**told, "8_1": JobStatus("8_1", Phase.RUNNING, "RUNNING", "motoko-s-1")}


def test_an_array_goes_on_as_long_as_one_of_its_jobs_does() -> None:
    found = tracker()

    found.answered(said(_0=WAITS, _1=WAITS), 1.0)
    waits = found.jobs["7"].status
    found.answered(said(_0=WELL, _1=RUNS), 2.0)
    runs = found.jobs["7"].status
    for now in (3.0, 10.0, 30.0):
        found.answered(said(_1=RUNS), now)

    assert waits is not None and (waits.id, waits.phase) == ("7", Phase.PENDING)
    assert runs is not None and runs.phase is Phase.RUNNING
    assert found.gone(40.0) == []


def test_a_queue_alone_does_not_say_that_all_of_an_array_went_well() -> None:
    found = tracker()
    found.answered(said(_0=RUNS, _1=RUNS), 1.0)

    [by_queue] = found.answered(said(_0=WELL, _1=WELL), 2.0)[:1]
    [by_accounts] = found.accounted(said(_0=WELL, _1=WELL, _2=BADLY))[:1]

    assert (by_queue.id, by_queue.phase, by_queue.exit_code) == ("7", Phase.ENDED, None)
    assert (by_accounts.id, by_accounts.state, by_accounts.exit_code) == ("7", "FAILED", 3)


def test_an_array_ends_as_the_worst_of_its_jobs() -> None:
    found = tracker()
    found.answered(said(_0=RUNS, _1=RUNS), 1.0)

    found.answered(said(_0=UNTOLD, _1=RUNS), 2.0)
    found.answered(said(_1=WELL), 3.0)
    untold = found.jobs["7"].status
    found.accounted(said(_0=BADLY, _1=WELL))
    status = found.jobs["7"].status

    assert untold is not None and (untold.state, untold.exit_code) == ("FAILED", None)
    assert status is not None and (status.phase, status.exit_code) == (Phase.ENDED, 3)


def test_an_array_is_missing_when_nobody_tells_how_its_last_job_ended() -> None:
    found = tracker()
    found.answered(said(_0=WELL, _1=RUNS), 1.0)

    for now in (2.0, 4.0, 8.0):
        found.answered(said(_0=WELL), now)

    assert found.to_account(8.0, 10) == ["7"]
    assert found.gone(9.0) == ["7"]
