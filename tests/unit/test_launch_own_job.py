"""What a process finds out of the job that it executes in, and whether its host is for jobs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from motoko.host import Kin, boot_clock, process_start_time
from motoko.launch import launcher
from motoko.launch.batch_generator import BatchGenerator, OwnFacts
from motoko.launch.generator import find_generator
from motoko.launch.launcher import LauncherSettings, usable_cores
from motoko.launch.login import login_system
from motoko.launch.own_job import own_job, session_age_s, system_of
from motoko.store.address import socket_address

SLURM = """\
JobId=7 JobName=job.sh
   RunTime=00:00:10 TimeLimit=1-00:01:00 TimeMin=N/A
   Command=/home/me/my study/job.sh --fast
   WorkDir=/home/me/my study
"""
SGE = """\
==============================================================
job_number:                 7
hard resource_list:         h_rt=3600,h_vmem=1G
script_file:                job.sh
"""
PBS = """\
Job Id: 7.server
    Job_Name = job.sh
    job_state = R
    resources_used.walltime = 00:00:10
    Resource_List.walltime = 01:00:00
    Variable_List = PBS_O_HOME=/home/me,PBS_O_WORKDIR=/home/me/w,
\tPBS_O_QUEUE=workq
    Submit_arguments = -q workq job.sh
"""


@pytest.mark.parametrize(
    ("name", "output", "found"),
    [
        (
            "slurm",
            SLURM.replace("my study/job", "w/job"),
            (
                86450.0,
                (
                    "sbatch",
                    "--parsable",
                    "--job-name=job.sh",
                    "--time=1-00:01:00",
                    "/home/me/w/job.sh",
                    "--fast",
                ),
                "/home/me/my study",
            ),
        ),
        ("slurm", "JobId=7\n   RunTime=00:00:10 TimeLimit=UNLIMITED\n", (None, (), None)),
        ("sge", SGE, (3600.0, ("qresub", "7"), None, True)),
        ("sge", "job_number:   7\n", (None, ("qresub", "7"), None)),
        ("pbs", PBS, (3590.0, ("qsub", "-q", "workq", "job.sh"), "/home/me/w")),
        ("pbs", "", (None, (), None)),
    ],
)
def test_an_adapter_reads_how_long_its_own_job_has_and_how_it_is_submitted_again(
    name: str, output: str, found: tuple[object, ...]
) -> None:
    generator = find_generator(name)
    assert isinstance(generator, BatchGenerator)

    assert generator.parse_own_job(output) == OwnFacts(*found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("environment", "system"),
    [
        ({"SLURM_JOB_ID": "7"}, "slurm"),
        ({"JOB_ID": "7", "SGE_TASK_ID": "undefined"}, "sge"),
        ({"JOB_ID": "of something else"}, None),
        ({"PBS_JOBID": "7.server"}, "pbs"),
        ({}, None),
    ],
)
def test_a_job_is_known_by_its_environment(
    environment: dict[str, str], system: str | None
) -> None:
    found = system_of(environment)

    assert (found and found.name) == system
    if system is None:
        assert own_job(environment) is None


def test_what_a_job_has_used_already_is_not_left_where_its_system_tells_the_limit_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "qstat").write_text(f"#!/bin/sh\ncat <<'END'\n{SGE}END\n")
    (tmp_path / "qstat").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("motoko.launch.own_job.session_age_s", lambda: 100.0)

    found = own_job({"JOB_ID": "7", "SGE_TASK_ID": "undefined"})

    assert found is not None and found.left_s == 3500.0


@pytest.mark.parametrize("is_outside", [False, True])
def test_a_session_is_as_old_as_its_first_process(
    is_outside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container it may have begun outside: then it is as old as this process at least."""
    if is_outside:
        monkeypatch.setattr("motoko.launch.own_job.process_kin", lambda pid: Kin(0, 0, 1))
    started = process_start_time(os.getpid())
    assert started is not None
    own_age_s = boot_clock() - started / os.sysconf("SC_CLK_TCK")

    assert session_age_s() >= own_age_s


def test_a_host_that_hands_jobs_to_a_system_is_a_login_node_outside_of_a_job() -> None:
    def find(command: str) -> bool:
        return command in ("sbatch", "squeue", "scancel", "qsub")

    assert login_system({}, find) == "slurm"
    assert login_system({"SLURM_JOB_ID": "7"}, find) is None
    assert login_system({}, lambda command: False) is None


@pytest.mark.parametrize(
    ("given", "in_job", "n_cores"), [(None, False, 2), (None, True, 16), (5, False, 16)]
)
def test_two_runs_at_a_time_execute_on_a_login_node(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    given: int | None,
    in_job: bool,
    n_cores: int,
) -> None:
    monkeypatch.setattr(launcher, "available_cores", lambda: 16)
    monkeypatch.setattr(launcher, "login_system", lambda _: None if in_job else "slurm")
    place = socket_address(tmp_path, "knock.sock")

    found = usable_cores(LauncherSettings(place, tmp_path, max_concurrent=given))

    assert found == n_cores
    assert ("login node of slurm" in caplog.text) == (n_cores == 2)


def test_a_script_whose_path_has_blanks_is_submitted_again(tmp_path: Path) -> None:
    script = tmp_path / "my study" / "the job.sh"
    script.parent.mkdir()
    script.touch()
    output = SLURM.replace("/home/me/my study/job.sh --fast", f"{script} --fast 'a b'")

    facts = find_generator("slurm").parse_own_job(output)  # type: ignore[attr-defined]

    assert facts.again[-3:] == (str(script), "--fast", "a b")
