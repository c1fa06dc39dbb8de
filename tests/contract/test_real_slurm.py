"""Real Slurm, while what is needed for a run dies, and when Slurm itself ends a job."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.launch_session import (
    ONCE,
    YAML,
    attempts,
    create,
    launching,
    make_gate,
    new_study,
    row,
    wait_for,
)
from tests.support.processes import kill_processes_of
from tests.support.processes import wait_for as wait_for_condition
from tests.support.systems import System

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

N_RUNS = 200
ORCHESTRATOR = f"""
async def main(workflow, **params):
    runs = workflow.s.createTask(x=[float(i) for i in range({N_RUNS})])
    await runs
"""
#: A job that a killed controller has forgotten is doubted for five minutes.
LONGEST_S = 500
#: What dies once so many runs have begun; the controller is ended by a signal.
DEATHS = {20: "launcher", 60: "server", 90: "TERM", 130: "KILL"}
#: A killed controller may hold jobs for running which no node has: Slurm ends them for that.
BOUNDED = "walltime: 60\nretry: {infrastructure: 3, walltime: 3}\n"
#: Says that it has begun; and waits, with so many others, for what is to die then.
HELD = """
cd DIRECTORY
echo $MOTOKO_RUN_ID-$MOTOKO_ATTEMPT >> ran
for n in NUMBERS; do
  if (( $(wc -l < ran) >= n )); then
    until [[ -e died-$n ]]; do read -t 0.1 <> <(:); done
  fi
done
true
""".replace("NUMBERS", " ".join(map(str, DEATHS)))
#: How runs become jobs, in a line of ``bd.yaml``.
SHAPES = {"single": "", "array": "array: true\n", "pack": "pack: 5\n"}


def n_ran(directory: Path) -> int:
    """How many scripts have begun."""
    file = directory / "ran"
    return len(file.read_text().split()) if file.exists() else 0


@pytest.mark.parametrize("shape", SHAPES)
def test_every_run_executes_once_whatever_dies(
    real_slurm: System, tmp_path: Path, shape: str
) -> None:
    directory = tmp_path / "w"
    script = HELD.replace("DIRECTORY", str(directory))
    (directory / "s").mkdir(parents=True)
    (directory / "motoko.yaml").write_text(
        "task_managers: {s: }\norchestrator: o.main\ngenerator: slurm\n"
    )
    (directory / "o.py").write_text(ORCHESTRATOR)
    (directory / "s" / "bd.yaml").write_text(YAML + SHAPES[shape] + BOUNDED)
    (directory / "s" / "launch.sh").write_text(script)
    cli = CommandLine(directory)
    cli.run("create", ".", "--validated")

    def begun(n_begun: int) -> None:
        wait_for_condition(lambda: n_ran(directory) >= n_begun, LONGEST_S)

    def is_last_seen() -> bool:
        [*_, last] = cli.json("runs", "show", f"s.{N_RUNS}")["attempts"] or [{}]
        return "state" in last.get("batch", {})

    def have_all_begun() -> bool:
        real_slurm.resume()
        return n_ran(directory) >= N_RUNS

    try:
        with cli.started("run") as process:
            for n_begun, what in DEATHS.items():
                begun(n_begun)  # more do not begin until it has died
                if what == "TERM":  # a job that was never seen is doubted for longer
                    wait_for_condition(is_last_seen, LONGEST_S)
                if what in ("launcher", "server"):
                    pid = cli.pid(what)
                    assert pid is not None
                    os.kill(pid, signal.SIGKILL)
                (directory / f"died-{n_begun}").touch()
                if what not in ("launcher", "server"):
                    real_slurm.restart_controller(signal.Signals[f"SIG{what}"])
            # A controller that was killed starts running jobs a second time, and drains the
            # node that has them already.
            wait_for_condition(have_all_begun, LONGEST_S)
            output, errors = process.communicate(timeout=LONGEST_S)

        assert process.returncode == 0, output + errors
        assert cli.counts("s") == {"FINISHED": N_RUNS}
    finally:
        kill_processes_of(directory)
    ran = (directory / "ran").read_text().split()
    executed = [one.partition("-")[0] for one in ran]
    assert len(set(ran)) == len(ran), "an attempt was executed again"
    assert len(set(executed)) == N_RUNS
    wait_for_condition(lambda: real_slurm.jobs() == [], LONGEST_S)


#: The least limit that Slurm knows is a minute; the other one needs more memory than it gets.
ENDS = """
case $MOTOKO_RUN_ID in
  1) read -r _ <> <(:) ;;
  2) python3 -c "x = bytearray(400 << 20); open('../../gate').read()" ;;
esac
"""


def test_what_slurm_ends_has_the_class_that_it_says(
    real_slurm_accounts: System, tmp_path: Path
) -> None:
    yaml = ONCE + "mem: 100M\nwalltime: 60\n"
    with new_study(tmp_path / "s", ENDS, yaml) as study:
        make_gate(study.directory)
        with launching(study, **real_slurm_accounts.settings):
            ids = create(study, 3)
            wait_for(study, lambda: all("end_time" in row(study, r) for r in ids), LONGEST_S)

        classes = {r: attempts(study, r)[0].get("class") for r in ids}
        told = [attempts(study, r) for r in ids]
        assert classes == {1: "walltime", 2: "out of memory", 3: None}, told
        assert row(study, 3)["state"] == "FINISHED"
    assert real_slurm_accounts.jobs() == []


def test_a_run_that_somebody_takes_out_of_an_array_is_cancelled(
    real_slurm_accounts: System, tmp_path: Path
) -> None:
    yaml = YAML + "array: true\nslurm_options: [hold]\n"
    with new_study(tmp_path / "s", "true\n", yaml) as study:
        with launching(study, **real_slurm_accounts.settings):
            ids = create(study, 4)

            def jobs() -> list[dict[str, str]]:
                return [a["batch"] for r in ids for a in attempts(study, r) if "batch" in a]

            wait_for(study, lambda: len([j for j in jobs() if "state" in j]) == len(ids))
            first, second = (job["id"] for job in jobs()[:2])
            real_slurm_accounts.cancel(second)  # of which Slurm knows nothing after that
            wait_for(study, lambda: "end_time" in row(study, 2))
            array = first.partition("_")[0]
            subprocess.run(["scontrol", "release", array], check=True)
            wait_for(study, lambda: all("end_time" in row(study, r) for r in ids))

        states = {r: row(study, r)["state"] for r in ids}
        assert states == dict.fromkeys(ids, "FINISHED") | {2: "CANCELLED"}
        assert attempts(study, 2)[0]["cause"] == f"its job {second} was cancelled at slurm"
