"""What goes wrong with a batch system, and must not become wrong runs."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from motoko.launch.trouble import Trouble
from motoko.launch.work import LIMITS
from tests.support.fake_scheduler import put
from tests.support.launch_session import (
    ONCE,
    RAN,
    YAML,
    attempts,
    create,
    launching,
    make_gate,
    new_study,
    open_gate,
    ran,
    row,
    wait_for,
    wait_for_attempts,
    wait_for_state,
)
from tests.support.systems import QUICK, System, fake_of, fault
from tests.support.waiting import wait_until


@pytest.mark.slow
def test_a_system_that_has_no_room_is_asked_again_and_no_run_fails(
    slurm: System, tmp_path: Path
) -> None:
    fault(slurm, "busy", 1)
    told: list[str] = []

    def tell(troubles: list[Trouble]) -> None:
        told.extend(one.why for one in troubles)

    with new_study(tmp_path / "s", RAN.format(tmp_path), ONCE) as study:
        with launching(study, **slurm.settings, tell=tell):
            ids = create(study, 3)
            wait_for_state(study, "FINISHED", *ids)

        assert ran(tmp_path) == ids
        assert any("AssocMaxSubmitJobLimit" in text for text in told)


def test_a_submission_whose_answer_was_lost_is_found_by_its_name(
    slurm: System, tmp_path: Path
) -> None:
    # Held, so that it cannot be found by what its script leaves.
    fault(slurm, "mute")
    fault(slurm, "held")
    with new_study(tmp_path / "s", RAN.format(tmp_path)) as study:
        with launching(study, **slurm.settings):
            create(study)
            (batch,) = wait_for(
                study, lambda: [a["batch"] for a in attempts(study) if "batch" in a]
            )
            assert batch["id"] == "1"
            fake_of(slurm).again("1")
            wait_for_state(study, "FINISHED")

        assert fake_of(slurm).count("sbatch") == 1
        assert ran(tmp_path) == [1]


@pytest.mark.slow
def test_a_launcher_that_died_between_submission_and_record_loses_no_job(
    slurm: System, tmp_path: Path
) -> None:
    fault(slurm, "held")
    with new_study(tmp_path / "s", RAN.format(tmp_path)) as study:
        with launching(study, **slurm.settings):
            create(study)
            wait_for(study, lambda: any("batch" in a for a in attempts(study)))

        def forget(tables):  # type: ignore[no-untyped-def]
            (known,) = tables.attempts(1)
            facts = {k: v for k, v in known.items() if k not in ("batch", "number")}
            tables.set_attempt(1, 1, facts)

        study.database.write(forget)
        ticket = study.run_dir(1) / ".motoko-job-1.json"
        ticket.write_text(ticket.read_text().splitlines()[0])
        with launching(study, **slurm.settings):
            wait_for(study, lambda: any("batch" in a for a in attempts(study)))
            fake_of(slurm).again("1")
            wait_for_state(study, "FINISHED")

        assert fake_of(slurm).count("sbatch") == 1
        assert ran(tmp_path) == [1]


@pytest.mark.slow
def test_a_job_that_was_never_submitted_is_submitted_by_the_next_launcher(
    slurm: System, tmp_path: Path
) -> None:
    fault(slurm, "busy", 1000)
    with new_study(tmp_path / "s", RAN.format(tmp_path)) as study:
        with launching(study, **slurm.settings):
            create(study)
            wait_until(lambda: fake_of(slurm).count("sbatch") > 0)
        (fake_of(slurm).place / "busy").unlink()

        with launching(study, **slurm.settings):
            wait_for_state(study, "FINISHED")

        assert ran(tmp_path) == [1]


@pytest.mark.slow
def test_failing_and_empty_answers_are_unknown_and_nothing_is_submitted_again(
    slurm: System, tmp_path: Path
) -> None:
    gate = make_gate(tmp_path)
    told: list[str] = []
    is_degraded = threading.Event()

    def tell(troubles: list[Trouble]) -> None:
        told.extend(map(str, troubles))
        if any(one.what.startswith("degraded") for one in troubles):
            is_degraded.set()

    script = RAN.format(tmp_path) + f"read -r _ < {gate}\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study, **slurm.settings, tell=tell):
            create(study)
            wait_for_state(study, "RUNNING")
            fault(slurm, "blind", 2)
            fault(slurm, "empty", 4)
            assert is_degraded.wait(30)
            place = fake_of(slurm).place
            wait_until(
                lambda: not (place / "blind").exists() and not (place / "empty").exists()
            )
            open_gate(gate)
            wait_for_state(study, "FINISHED")

        assert ran(tmp_path) == [1]
        assert len(attempts(study)) == 1
        assert any("jobs of slurm" in text for text in told)


def test_a_job_that_is_started_twice_executes_once(slurm: System, tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = RAN.format(tmp_path) + f"read -r _ < {gate}\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study, **slurm.settings):
            create(study)
            wait_for_state(study, "RUNNING")
            fake_of(slurm).again("1")
            wait_until(lambda: list(study.run_dir(1).glob(".motoko-refused-1-*")))
            open_gate(gate)
            wait_for_state(study, "FINISHED")
            wait_for_attempts(study, 1)

        assert ran(tmp_path) == [1]
        (attempt,) = attempts(study)
        assert "was refused, since its token was taken" in attempt["warnings"][0]


@pytest.mark.slow
def test_a_job_of_an_earlier_attempt_that_comes_late_executes_nothing(
    slurm: System, tmp_path: Path
) -> None:
    script = RAN.format(tmp_path) + "[[ $MOTOKO_ATTEMPT == 2 ]]\n"
    with new_study(tmp_path / "s", script, YAML + "retry: 1\n") as study:
        with launching(study, **slurm.settings):
            create(study)
            wait_for_state(study, "FINISHED")
            fake_of(slurm).again("1")
            wait_until(lambda: list(study.run_dir(1).glob(".motoko-refused-1-*")))

        assert ran(tmp_path) == [1, 1]


@pytest.mark.parametrize(
    ("told", "failure"),
    [
        ("TIMEOUT", "walltime"),
        pytest.param("OUT_OF_MEMORY", "out of memory", marks=pytest.mark.slow),
        pytest.param("NODE_FAIL", "infrastructure", marks=pytest.mark.slow),
        pytest.param("PREEMPTED", "preempted", marks=pytest.mark.slow),
    ],
)
def test_what_the_system_says_of_an_end_decides_its_class(
    slurm: System, tmp_path: Path, told: str, failure: str
) -> None:
    gate = make_gate(tmp_path)
    with new_study(tmp_path / "s", f"read -r _ < {gate}\n", ONCE) as study:
        with launching(study, **slurm.settings):
            create(study)
            wait_for_state(study, "RUNNING")
            fake_of(slurm).tell("1", told)
            os.killpg(fake_pid(slurm, "1"), signal.SIGKILL)
            (attempt,) = wait_for_attempts(study, 1)

        assert (attempt["class"], attempt["batch"]["state"]) == (failure, told)
        assert row(study)["state"] == "FAILED"
        assert told in attempt["cause"]


def fake_pid(system: System, job_id: str) -> int:
    text = (fake_of(system).place / f"job-{job_id}.json").read_text()
    return int(text.partition('"pid": ')[2].partition(",")[0])


def test_the_reason_why_a_job_waits_is_recorded(slurm: System, tmp_path: Path) -> None:
    fault(slurm, "held")
    with new_study(tmp_path / "s", "true\n") as study, launching(study, **slurm.settings):
        create(study)
        wait_for(study, lambda: any(a["batch"].get("reason") for a in attempts(study)))

        assert row(study)["state"] == "SUBMITTED"
        (attempt,) = attempts(study)
        assert attempt["batch"]["reason"] == "Priority"


@pytest.mark.slow
def test_no_more_jobs_than_allowed_are_submitted(slurm: System, tmp_path: Path) -> None:
    fault(slurm, "held")
    yaml = YAML + "max_submitted: 2\n"
    with new_study(tmp_path / "s", "true\n", yaml) as study, launching(study, **slurm.settings):
        ids = create(study, 5)
        wait_for(study, lambda: sum(bool(attempts(study, r)) for r in ids) >= 2)
        wait_until(lambda: fake_of(slurm).count("squeue") >= 3)

        assert len(slurm.jobs()) == 2


@pytest.mark.slow
def test_a_run_that_is_refused_holds_up_none_that_asks_for_something_else(
    slurm: System, tmp_path: Path
) -> None:
    with new_study(tmp_path / "s", "true\n", ONCE) as study:
        with launching(study, **slurm.settings):
            study.create_tasks(
                {"x": [1.0]}, {"partition": "nonsense"}, run_name="r", event_name="main"
            )
            other = create(study)[0]
            wait_for_state(study, "FAILED", 1)
            wait_for_state(study, "FINISHED", other)

        assert "nonsense" in attempts(study, 1)[0]["cause"]


@pytest.mark.slow
def test_a_limit_is_changed_while_jobs_wait(slurm: System, tmp_path: Path) -> None:
    fault(slurm, "held")
    yaml = YAML + "max_submitted: 1\n"
    with new_study(tmp_path / "s", "true\n", yaml) as study, launching(study, **slurm.settings):
        create(study, 5)
        wait_until(lambda: len(slurm.jobs()) == 1)

        study.database.write(lambda tables: tables.set_fact(LIMITS, {"max_submitted": 3}))
        wait_until(lambda: len(slurm.jobs()) == 3)
        limits = {"max_submitted": 9, "workflow.max_submitted": 4}
        study.database.write(lambda tables: tables.set_fact(LIMITS, limits))
        wait_until(lambda: len(slurm.jobs()) == 4)
        wait_until(lambda: fake_of(slurm).count("squeue") >= 4)

        assert len(slurm.jobs()) == 4


def test_a_packed_run_is_kept_from_its_turn_and_the_others_go_on(
    slurm: System, tmp_path: Path
) -> None:
    gate = make_gate(tmp_path)
    script = RAN.format(tmp_path) + f"[[ $MOTOKO_RUN_ID == 1 ]] && read -r _ < {gate}; true\n"
    with new_study(tmp_path / "s", script, YAML + "pack: 3\n") as study:
        with launching(study, **slurm.settings):
            create(study, 3)
            wait_for_state(study, "RUNNING", 1)
            study.database.write(lambda tables: tables.update_run(2, {"state": "CANCELLED"}))
            wait_for_attempts(study, 1, 2)
            open_gate(gate)
            wait_for_state(study, "FINISHED", 1, 3)

        assert ran(tmp_path) == [1, 3]
        assert row(study, 2)["state"] == "CANCELLED"


@pytest.mark.slow
def test_a_packed_run_that_executes_is_ended_alone_also_by_the_next_launcher(
    slurm: System, tmp_path: Path
) -> None:
    gate = make_gate(tmp_path)
    script = RAN.format(tmp_path) + f"[[ $MOTOKO_RUN_ID == 2 ]] || {{ read -r _ < {gate}; }}\n"
    with new_study(tmp_path / "s", script, YAML + "pack: 3\n") as study:
        with launching(study, **slurm.settings):
            create(study, 3)
            wait_for_state(study, "RUNNING", 1)
        study.database.write(lambda tables: tables.update_run(1, {"state": "CANCELLED"}))
        with launching(study, **slurm.settings):
            wait_for_attempts(study, 1, 1)
            wait_for_state(study, "FINISHED", 2)
            open_gate(gate)
            wait_for_state(study, "FINISHED", 3)

        assert row(study, 1)["state"] == "CANCELLED"
        assert ran(tmp_path) == [1, 2, 3]
        assert fake_of(slurm).count("sbatch") == 1
        assert fake_of(slurm).count("scancel") == 0


SCONTROL = """#!/bin/sh
echo "JobId=$4 JobName=$(sed 's/.*"name": "\\([^"]*\\)".*/\\1/' {0}/job-$4.json)"\\
  "JobState=CANCELLED ExitCode=0:0 NodeList=n1"
"""


@pytest.mark.slow
def test_a_job_that_the_system_cancels_because_it_cannot_launch_it_is_tried_again(
    slurm: System, tmp_path: Path
) -> None:
    place = fake_of(slurm).place
    (place / "bin" / "sacct").unlink()  # nobody keeps accounts
    (place / "bin" / "scontrol").write_text(SCONTROL.format(place))
    (place / "bin" / "scontrol").chmod(0o755)
    fault(slurm, "held")
    with new_study(tmp_path / "s", RAN.format(tmp_path)) as study:
        with launching(study, **slurm.settings):
            create(study)
            wait_for(study, lambda: any("batch" in a for a in attempts(study)))
            (place / "held").unlink()
            fake_of(slurm).tell("1", "CANCELLED")
            wait_for_state(study, "FINISHED")

        told = attempts(study)
        assert len(told) == 2, (told, row(study))
        first, second = told
        assert (first["class"], second["state"]) == ("infrastructure", "FINISHED"), first


@pytest.mark.slow
def test_packed_runs_whose_turn_did_not_come_are_submitted_again(
    slurm: System, tmp_path: Path
) -> None:
    gate = make_gate(tmp_path)
    script = RAN.format(tmp_path) + f"[[ $MOTOKO_RUN_ID == 1 ]] && read -r _ < {gate}; true\n"
    with new_study(tmp_path / "s", script, ONCE + "pack: 3\n") as study:
        with launching(study, **slurm.settings):
            create(study, 3)
            wait_for_state(study, "RUNNING", 1)
            fake_of(slurm).tell("1", "TIMEOUT")
            os.killpg(fake_pid(slurm, "1"), signal.SIGKILL)
            wait_for_state(study, "FINISHED", 2, 3)

        assert row(study, 1)["state"] == "FAILED"
        assert attempts(study, 1)[0]["class"] == "walltime"
        assert ran(tmp_path) == [1, 2, 3]
        assert len(attempts(study, 2)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["array: true\n", "pack: 3\n"])
def test_a_group_whose_submission_was_not_answered_is_found_by_its_name(
    slurm: System, tmp_path: Path, shape: str
) -> None:
    fault(slurm, "mute")
    with new_study(tmp_path / "s", RAN.format(tmp_path), YAML + shape) as study:
        with launching(study, **slurm.settings):
            ids = create(study, 3)
            wait_for_state(study, "FINISHED", *ids)

        assert ran(tmp_path) == ids
        assert fake_of(slurm).count("sbatch") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "jobs"), [("array: true\n", ("1_0", "1_1", "1_2")), ("pack: 3\n", ("1",))]
)
def test_a_group_whose_jobs_were_not_recorded_is_found_by_its_tickets(
    slurm: System, tmp_path: Path, shape: str, jobs: tuple[str, ...]
) -> None:
    fault(slurm, "held")
    with new_study(tmp_path / "s", RAN.format(tmp_path), YAML + shape) as study:
        with launching(study, **slurm.settings):
            ids = create(study, 3)

            def are_recorded() -> bool:
                return all(any("batch" in a for a in attempts(study, r)) for r in ids)

            wait_for(study, are_recorded)

        def forget(tables):  # type: ignore[no-untyped-def]
            for run_id in ids:
                tables.set_attempt(run_id, 1, {"nonce": tables.run(run_id)["nonce"]})

        study.database.write(forget)
        with launching(study, **slurm.settings):
            wait_for(study, are_recorded)
            for job_id in jobs:
                fake_of(slurm).again(job_id)
            wait_for_state(study, "FINISHED", *ids)

        assert fake_of(slurm).count("sbatch") == 1
        assert ran(tmp_path) == ids


@pytest.mark.slow
def test_a_study_that_has_no_room_holds_up_no_other(
    slurm: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motoko.launch.batch_executor._FIRST_PAUSE_S", 600.0)
    put(fake_of(slurm).place / "crowded", "--partition=full")
    yaml = ONCE.replace("study: s", "study: t")
    with (
        new_study(tmp_path / "s", "true\n", ONCE + "partition: full\n") as first,
        new_study(tmp_path / "t", "true\n", yaml) as second,
    ):
        with launching(first, second, **slurm.settings):
            create(first)
            wait_until(lambda: fake_of(slurm).count("sbatch") == 1)
            ids = create(second, 4)
            wait_for_state(second, "FINISHED", *ids)

        assert row(first)["state"] == "SUBMITTED"
        assert fake_of(slurm).count("sbatch") == 1 + len(ids)


#: A launcher that asks once in its life, as one that cron calls.
ONCE_ASKED = QUICK._replace(least_s=1000.0, most_s=1000.0, confirm_s=0.0, unseen_s=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("is_known", [True, False])
def test_launchers_that_each_ask_once_find_out_together_that_a_job_is_gone(
    slurm: System, tmp_path: Path, is_known: bool
) -> None:
    fault(slurm, "held")
    if not is_known:
        fault(slurm, "late")  # nobody was told its id, nor finds it by its name
        fault(slurm, "blind", 1000)
    with new_study(tmp_path / "s", RAN.format(tmp_path), ONCE) as study:

        def n_missed() -> int:
            missing = [a.get("batch", {}).get("missing", {}) for a in attempts(study)]
            return sum(m.get("n_missing", 0) + m.get("n_empty", 0) for m in missing)

        with launching(study, **slurm.settings):
            create(study)
            wait_until(lambda: fake_of(slurm).count("sbatch") == 1)
            wait_until(lambda: fake_of(slurm).count("squeue") >= 1)
        for file in fake_of(slurm).place.glob("job-*"):
            file.unlink()  # which it forgets
        for name in ("held", "blind"):
            (fake_of(slurm).place / name).unlink(missing_ok=True)
        settings = {**slurm.settings, "pace": ONCE_ASKED}
        for n_asked in (1, 2):
            with launching(study, **settings):
                wait_for(study, lambda n=n_asked: n_missed() == n)  # type: ignore[misc]
            assert row(study)["state"] == "SUBMITTED"
        with launching(study, **settings):
            wait_for_state(study, "FAILED" if is_known else "FINISHED")

        if is_known:
            assert "is gone from slurm" in attempts(study)[0]["cause"]
        else:
            assert ran(tmp_path) == [1]


@pytest.mark.slow
def test_a_job_that_was_missed_before_is_not_gone_because_nobody_answers(
    slurm: System, tmp_path: Path
) -> None:
    fault(slurm, "held")
    with new_study(tmp_path / "s", RAN.format(tmp_path), ONCE) as study:
        with launching(study, **slurm.settings):
            create(study)
            wait_for(study, lambda: any("batch" in a for a in attempts(study)))
        long_ago = {"boot": "", "clock": 0.0, "time": 0.0, "n_missing": 3, "n_empty": 3}

        def miss(tables):  # type: ignore[no-untyped-def]
            [known] = tables.attempts(1)
            batch = known["batch"] | {"missing": long_ago}
            tables.set_attempt(
                1, 1, {k: v for k, v in known.items() if k != "number"} | {"batch": batch}
            )

        study.database.write(miss)
        n_before = fake_of(slurm).count("squeue")
        fault(slurm, "blind", 1000)
        with launching(study, **slurm.settings):
            wait_until(lambda: fake_of(slurm).count("squeue") > n_before + 2)
            assert row(study)["state"] == "SUBMITTED"
            (fake_of(slurm).place / "blind").unlink()
            wait_for(study, lambda: "missing" not in attempts(study)[0]["batch"])
            fake_of(slurm).again("1")
            wait_for_state(study, "FINISHED")
