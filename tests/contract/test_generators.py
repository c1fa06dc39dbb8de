"""What holds for every way to execute runs: processes here, and jobs of each batch system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motoko.launch.ticket import Tickets
from tests.support.launch_session import (
    ONCE,
    YAML,
    attempts,
    create,
    launching,
    make_gate,
    new_study,
    open_gate,
    row,
    wait_for,
    wait_for_attempts,
    wait_for_file,
    wait_for_state,
)
from tests.support.systems import QUICK, System, fake_system
from tests.support.waiting import wait_until

FAKE = [
    pytest.param(f"fake {name}", marks=pytest.mark.slow) for name in ("slurm", "sge", "pbs")
]
REAL = [
    pytest.param(f"real {name}", marks=pytest.mark.slow)
    for name in ("slurm", "slurm_accounts", "sge", "dask")
]
#: Says that it was executed, then does what its run is for.
SCRIPT = """
echo $MOTOKO_RUN_ID >> {0}/ran
case $MOTOKO_RUN_ID in
  2) echo no >&2; exit 3 ;;
  3) sleep 0.01; false; true ;;
  4) kill -KILL $$ ;;
esac
"""


@pytest.fixture
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    """One of the systems, by its name."""
    kind, _, name = request.param.rpartition(" ")
    if not kind:
        yield System(name)
        return
    if kind == "fake":
        with fake_system(tmp_path / "fake", name) as found:
            yield found
        return
    yield request.getfixturevalue(f"real_{name}")


ALL = pytest.mark.parametrize("system", ["bash", *FAKE, *REAL], indirect=True)
BATCH = pytest.mark.parametrize("system", [*FAKE, *REAL], indirect=True)
#: Those with a command by which a script submits a job itself.
HANDING_ON = pytest.mark.parametrize(
    "system", [*FAKE, *(p for p in REAL if p.values != ("real dask",))], indirect=True
)
#: Also without the slow tests.
EACH = pytest.mark.parametrize(
    "system", ["bash", "fake slurm", *FAKE[1:], *REAL], indirect=True
)


@pytest.mark.slow
@EACH
def test_every_run_executes_once_and_is_recorded_as_it_ended(
    system: System, tmp_path: Path
) -> None:
    with new_study(tmp_path / "s", SCRIPT.format(tmp_path), ONCE) as study:
        with launching(study, **system.settings):
            ids = create(study, 6, nproc=1)
            wait_for(study, lambda: all("end_time" in row(study, r) for r in ids))

        assert sorted(map(int, (tmp_path / "ran").read_text().split())) == ids
        found = {r: row(study, r)["state"] for r in ids}
        assert found == {1: "FINISHED", 2: "FAILED", 3: "FINISHED", 4: "FAILED"} | {
            5: "FINISHED",
            6: "FINISHED",
        }
        (failed,), (killed,) = attempts(study, 2), attempts(study, 4)
        assert (failed["class"], failed["exit_code"], failed["stderr"]) == (
            "application",
            3,
            "no",
        )
        assert killed["class"] == "infrastructure"
        assert (study.run_dir(1) / "FINISHED").exists()
        assert system.jobs() == []


@ALL
def test_a_launcher_goes_on_with_what_another_one_began(system: System, tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    script = f"echo $MOTOKO_RUN_ID >> {tmp_path}/ran; read -r _ < {gate}\n"
    with new_study(tmp_path / "s", script) as study:
        with launching(study, **system.settings):
            create(study)
            wait_for_state(study, "RUNNING")
        with launching(study, **system.settings):
            open_gate(gate)
            wait_for_state(study, "FINISHED")

        assert (tmp_path / "ran").read_text() == "1\n"
        assert len(attempts(study)) == 1


@ALL
def test_a_run_that_ends_while_no_launcher_is_there_is_recorded_by_the_next(
    system: System, tmp_path: Path
) -> None:
    gate = make_gate(tmp_path)
    with new_study(tmp_path / "s", f"read -r _ < {gate}; exit 5\n", ONCE) as study:
        with launching(study, **system.settings):
            create(study)
            wait_for_state(study, "RUNNING")
        open_gate(gate)
        outcome = study.run_dir(1) / ".motoko-outcome-1"
        wait_for_file(outcome)

        with launching(study, **system.settings):
            (attempt,) = wait_for_attempts(study, 1)

        assert (attempt["class"], attempt["exit_code"]) == ("application", 5)


@ALL
def test_a_cancelled_run_ends(system: System, tmp_path: Path) -> None:
    gate = make_gate(tmp_path)
    with new_study(tmp_path / "s", f"read -r _ < {gate}\n") as study:
        with launching(study, **system.settings):
            create(study)
            wait_for_state(study, "RUNNING")
            study.database.write(lambda tables: tables.update_run(1, {"state": "CANCELLED"}))
            wait_for_attempts(study, 1)

        assert row(study)["state"] == "CANCELLED"
        wait_until(lambda: system.jobs() == [])


#: Saves what it has when it is told to, unless it is the second run; goes on with that.
SAVING = """
[[ -e saved ]] && exit 0
save='echo half >> saved'
[[ $MOTOKO_RUN_ID == 2 ]] && save=:
trap "$save; exit 9" USR1
while :; do read -t 0.05 <> <(:); done
"""


@pytest.mark.slow
@ALL
def test_a_run_is_told_of_the_end_of_its_walltime_and_goes_on_if_it_has_saved_something(
    system: System, tmp_path: Path
) -> None:
    yaml = YAML + "walltime: 60\ncheckpoint_signal: B:USR1@58\n"
    yaml += "retry: {walltime: 3}\ncarry_over: [saved]\n"
    with new_study(tmp_path / "s", SAVING, yaml) as study:
        with launching(study, **system.settings):
            create(study, 2)
            wait_for_state(study, "FINISHED", 1)
            wait_for_state(study, "FAILED", 2)

        first, second = attempts(study, 1)
        (stuck,) = attempts(study, 2)
        assert (first["class"], first["exit_code"], first["progress"]) == ("walltime", 9, True)
        assert "USR1 had said that its walltime is nearly over" in first["cause"]
        assert second["state"] == "FINISHED"
        assert (stuck["class"], stuck["progress"]) == ("walltime", False)
        assert "no progress" in stuck["cause"]


HANDS_ON = """
cat > sub.sh <<'END'
#!/bin/bash
{0}
echo $(basename $PWD) >> {1}/ran; until [[ -e {1}/go ]]; do read -t 0.05 <> <(:); done
[[ $PWD != *run-2 ]]
END
{2} sub.sh > "$MOTOKO_HANDED_ON"
"""
SUBMIT = {"slurm": "sbatch", "sge": "qsub -cwd", "pbs": "qsub"}
NAMES = {
    "slurm": "#SBATCH --job-name=mine-motoko",
    "sge": "#$ -N motoko",
    "pbs": "#PBS -N motoko",
}


@HANDING_ON
def test_a_job_that_a_script_has_handed_its_work_on_to_is_tracked_like_any_other(
    system: System, tmp_path: Path
) -> None:
    script = HANDS_ON.format(NAMES[system.name], tmp_path, SUBMIT[system.name])
    yaml = ONCE + "completion: explicit\n"
    # The accounts, which alone tell of its end, may be some time behind.
    settings = {**system.settings, "pace": QUICK._replace(confirm_s=60.0, unseen_s=60.0)}
    with new_study(tmp_path / "s", script, yaml) as study:

        def handed_on() -> bool:
            told = [a.get("batch", {}) for r in (1, 2) for a in attempts(study, r)]
            return sum(bool(batch.get("handed_on")) for batch in told) == 2

        with launching(study, **settings):
            create(study, 2)
            wait_for(study, handed_on)
        with launching(study, **settings):
            begun = tmp_path / "ran"
            wait_until(lambda: begun.exists() and len(begun.read_text().split()) == 2)
            (tmp_path / "go").touch()
            wait_for_state(study, "FINISHED", 1)
            wait_for_state(study, "FAILED", 2)

        (failed,) = attempts(study, 2)
        assert (failed["class"], failed.get("exit_code")) == ("application", 1), failed
        assert sorted((tmp_path / "ran").read_text().split()) == ["run-1", "run-2"]
    wait_until(lambda: system.jobs() == [])


@HANDING_ON
def test_what_a_process_has_handed_on_to_a_batch_system_is_cancelled_there(
    system: System, tmp_path: Path
) -> None:
    script = HANDS_ON.format(NAMES[system.name], tmp_path, SUBMIT[system.name])
    script += f"echo {system.name} $(<$MOTOKO_HANDED_ON) > x; mv x $MOTOKO_HANDED_ON\n"
    yaml = ONCE + "completion: explicit\n"
    with new_study(tmp_path / "s", script, yaml) as study:
        with launching(study, **{**system.settings, "generator": "bash"}):
            create(study)
            wait_for(study, lambda: any("batch" in one for one in attempts(study)))
            study.database.write(lambda tables: tables.update_run(1, {"state": "CANCELLED"}))
            wait_for_attempts(study, 1)

        assert row(study)["state"] == "CANCELLED"
    wait_until(lambda: system.jobs() == [])


@BATCH
def test_a_job_that_is_refused_fails_once_with_the_systems_words(
    system: System, tmp_path: Path
) -> None:
    yaml = ONCE + "partition: nonsense\n"
    with new_study(tmp_path / "s", "true\n", yaml) as study:
        troubles: list[str] = []
        with launching(study, **system.settings, tell=lambda t: troubles.extend(map(str, t))):
            ids = create(study, 5)
            wait_for(study, lambda: any(row(study, r)["state"] == "FAILED" for r in ids))

        failed = [r for r in ids if row(study, r)["state"] == "FAILED"]
        assert len(failed) == 1, failed
        (attempt,) = attempts(study, failed[0])
        assert attempt["class"] == "submission" and "nonsense" in attempt["cause"]
        assert any("nonsense" in text and "other runs" in text for text in troubles)


@BATCH
def test_a_job_that_somebody_cancelled_at_the_system_is_no_failure(
    system: System, tmp_path: Path
) -> None:
    gate = make_gate(tmp_path)
    with new_study(tmp_path / "s", f"read -r _ < {gate}\n", ONCE) as study:
        with launching(study, **system.settings):
            create(study)
            wait_for_state(study, "RUNNING")
            job = attempts(study)[0]["batch"]["id"]
            system.cancel(job)
            (attempt,) = wait_for_attempts(study, 1)[:1]

        if system.name == "slurm":
            assert row(study)["state"] == "CANCELLED"
            assert "cancelled at slurm" in attempt["cause"]
        else:  # which does not say who has ended it
            assert attempt["class"] == "infrastructure"


@BATCH
def test_the_script_can_be_read_and_has_what_the_study_asks_for(
    system: System, tmp_path: Path
) -> None:
    option = {"slurm": "comment=mine", "dask": "priority=7"}.get(system.name, "A=mine")
    yaml = YAML + f"walltime: 90m\n{system.name}_options: [{option}]\n"
    with new_study(tmp_path / "s", "echo $OMP_NUM_THREADS $MOTOKO_ATTEMPT\n", yaml) as study:
        with launching(study, **system.settings):
            create(study)
            wait_for_state(study, "FINISHED")

        text = (study.run_dir(1) / ".motoko-job-1.sh").read_text()
        assert "01:30:00" in text and option.partition("=")[2] in text
        assert (study.run_dir(1) / "r.o1").read_text() == "1 1\n"
        (attempt,) = attempts(study)
        batch = attempt["batch"]
        assert batch["generator"] == system.name and batch["id"]
        ticket = Tickets(study.runs_dir).of(str(study.run_dir(1)), 1, attempt["nonce"])
        assert ticket is not None and ticket.id == batch["id"]
        assert ticket.name.startswith("motoko-s-1-1-")


@pytest.mark.parametrize("shape", ["array: true\n", "pack: 3\n"])
@ALL
def test_runs_that_share_a_submission_have_each_a_state_of_their_own(
    system: System, tmp_path: Path, shape: str
) -> None:
    with new_study(tmp_path / "s", SCRIPT.format(tmp_path), ONCE + shape) as study:
        with launching(study, **system.settings):
            ids = create(study, 6)
            wait_for(study, lambda: all("end_time" in row(study, r) for r in ids))

        assert sorted(map(int, (tmp_path / "ran").read_text().split())) == ids
        bad = {r for r in ids if row(study, r)["state"] != "FINISHED"}
        assert bad == {2, 4}
        jobs = {attempts(study, r)[0].get("batch", {}).get("id") for r in ids}
        if system.is_batch:
            assert len(jobs) == (6 if "array" in shape else 2)
        if system.fake is not None:
            n_submissions = system.fake.count("sbatch") + system.fake.count("qsub")
            assert n_submissions == (1 if "array" in shape else 2)
    wait_until(lambda: system.jobs() == [])
