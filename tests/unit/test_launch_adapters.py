"""Adapters of batch systems: small questions, and what each answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from motoko.config.retry import INFRASTRUCTURE, MEMORY, PREEMPTED, SUBMISSION, WALLTIME
from motoko.errors import ReservedOption, SchedulerOutputError
from motoko.launch import generator
from motoko.launch.batch_cancels import is_by_system
from motoko.launch.batch_generator import Array, BatchGenerator, Phase, Refusal, Shape
from motoko.launch.commands import NOT_EXECUTED, ask
from motoko.launch.generator import find_generator
from motoko.launch.pbs import Pbs
from motoko.launch.resources import Resources, megabytes
from motoko.launch.sge import GridEngine
from motoko.launch.slurm import Slurm

FULL = Resources(4, 2048, 5400, "2", "proj", "long", ("gcc/12",))


class Mine(Slurm):
    """As another package would name it."""


def directives(system: BatchGenerator, resources: Resources, *options: str) -> list[str]:
    return system.directives("name", Shape(resources, options), "log")


@pytest.mark.parametrize(
    ("system", "wanted"),
    [
        (
            Slurm(),
            "--nodes=1 --ntasks=4 --mem=2048M --time=01:30:00 --gpus=2 --account=proj"
            " --partition=long",
        ),
        (
            GridEngine(),
            "-pe smp 4|-l h_vmem=512M|-l h_rt=01:30:00|-l gpu=2|-A proj|-q long",
        ),
        (
            Pbs(),
            "-l select=1:ncpus=4:mpiprocs=4:mem=2048mb:ngpus=2|-l walltime=01:30:00|-A proj"
            "|-q long",
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_neutral_names_are_translated(system: BatchGenerator, wanted: str) -> None:
    found = directives(system, FULL)

    assert found[-len(wanted.split("|" if "|" in wanted else " ")) :] == wanted.split(
        "|" if "|" in wanted else " "
    )
    assert any("name" in text for text in found) and any("log" in text for text in found)


@pytest.mark.parametrize(
    ("system", "options", "has", "lacks"),
    [
        (
            Slurm(),
            ["time=5", "-N 3", "--exclusive"],
            ["--time=5", "-N 3", "--exclusive"],
            "nodes",
        ),
        (Slurm(), ["n=2"], ["-n 2"], "ntasks"),
        (
            GridEngine(),
            ["l=h_rt=60", "pe=mpi 8", "V"],
            ["-l h_rt=60", "-pe mpi 8", "-V"],
            "01:30:00",
        ),
        (Pbs(), ["l=nodes=2:ppn=4"], ["-l nodes=2:ppn=4", "-l walltime=01:30:00"], "select"),
    ],
    ids=["slurm", "slurm short", "sge", "pbs"],
)
def test_options_stand_above_neutral_names(
    system: BatchGenerator, options: list[str], has: list[str], lacks: str
) -> None:
    found = directives(system, FULL, *options)

    assert [text for text in has if text not in found] == []
    assert not [text for text in found if lacks in text]


def test_the_last_list_of_options_stands_above_the_others() -> None:
    merged = Slurm().dialect.merged(["time=1", "nodes=1"], ["t=2"], ["time=3", "exclusive"])

    assert merged == ("time=3", "nodes=1", "exclusive")


@pytest.mark.parametrize(
    ("name", "option"),
    [("slurm", "J=mine"), ("slurm", "--output=x"), ("sgeCoat", "N=x"), ("pbs", "-o x")],
)
def test_an_option_that_is_motokos_own_is_an_error_that_says_so(name: str, option: str) -> None:
    with pytest.raises(ReservedOption, match=r"is Motoko's own: .+; leave it out"):
        find_generator(name, [option])


@pytest.mark.parametrize("name", ["slurm", "slurmCoat", "sge", "pbs"])
def test_every_adapter_makes_an_array_with_a_throttle(name: str) -> None:
    system = find_generator(name)
    assert isinstance(system, BatchGenerator)

    found = system.directives("n", Shape(Resources()), "log", Array(5, 2))

    assert any("0-4%2" in text or "-tc 2" in text or "subjobs=2" in text for text in found)
    assert len(system.array_ids("7[].host" if name == "pbs" else "7", 5)) == 5


def test_an_adapter_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("mine", f"{__name__}:Mine", generator.ENTRY_POINTS)

    def entry_points(**wanted: str) -> EntryPoints:
        return EntryPoints([entry]).select(**wanted)

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)

    assert isinstance(find_generator("mine", ["time=1"]), Mine)
    assert "mine" in generator.generator_names()


@pytest.mark.parametrize(
    ("system", "output", "job_id"),
    [
        (Slurm(), "17\n", "17"),
        (Slurm(), "sbatch: note\n17;cluster\n", "17"),
        (GridEngine(), "3\n", "3"),
        (GridEngine(), "a warning\n3.1-5:1\n", "3"),
        (Pbs(), "12.server\n", "12.server"),
        (Pbs(), "12[].server.site\n", "12[].server.site"),
    ],
)
def test_submission_tells_the_id(system: BatchGenerator, output: str, job_id: str) -> None:
    assert system.parse_submission(output) == job_id


@pytest.mark.parametrize("system", [Slurm(), GridEngine(), Pbs()], ids=lambda s: s.name)
def test_an_answer_that_cannot_be_read_is_an_error(system: BatchGenerator) -> None:
    with pytest.raises(SchedulerOutputError):
        system.parse_submission("Submitted\n")
    if system.name != "pbs":
        with pytest.raises(SchedulerOutputError):
            system.parse_status("squeue: nonsense\n")


#: What Slurm says of every limit, behind its name.
POLICY = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
    " (job submit limit, user's size and/or time limits)"
)


@pytest.mark.parametrize(
    ("system", "words", "meaning"),
    [
        (Slurm(), "AssocMaxSubmitJobLimit", Refusal.BUSY),
        (Slurm(), f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}", Refusal.BUSY),
        (Slurm(), f"sbatch: error: AssocGrpCPUMinutesLimit\n{POLICY}", Refusal.BUSY),
        (Slurm(), POLICY, Refusal.BUSY),
        (Slurm(), f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{POLICY}", Refusal.REFUSED),
        (Slurm(), f"sbatch: error: AssocMaxCpuPerJobLimit\n{POLICY}", Refusal.REFUSED),
        (Slurm(), "Invalid job array specification", Refusal.BUSY),
        (Slurm(), "Socket timed out on send/recv operation", Refusal.UNCLEAR),
        (GridEngine(), "failed receiving gdi request response for mid=1", Refusal.UNCLEAR),
        (Pbs(), "qsub: Premature end of message", Refusal.UNCLEAR),
        (Pbs(), "qsub: Array job exceeds server or queue size limit", Refusal.BUSY),
        (Slurm(), "Slurm temporarily unable to accept job", Refusal.BUSY),
        (Slurm(), "Unable to contact slurm controller (connect failure)", Refusal.AWAY),
        (Slurm(), "invalid partition specified: long", Refusal.REFUSED),
        (Slurm(), "Requested node configuration is not available", Refusal.REFUSED),
        (
            GridEngine(),
            "job rejected: only 5 jobs are allowed per user (current job count: 5)",
            Refusal.BUSY,
        ),
        (GridEngine(), "unable to contact qmaster using port 6444", Refusal.AWAY),
        (GridEngine(), 'job rejected: the requested PE "smp" does not exist', Refusal.REFUSED),
        (Pbs(), "qsub: would exceed queue generic's per-user limit", Refusal.BUSY),
        (Pbs(), "qsub: cannot connect to server pbs (errno=15010)", Refusal.AWAY),
        (Pbs(), "qsub: Unknown queue", Refusal.REFUSED),
    ],
)
def test_what_a_failed_submission_means(
    system: BatchGenerator, words: str, meaning: Refusal
) -> None:
    assert system.refusal(words) is meaning


def test_sbatch_sees_nothing_of_the_job_around_it_nor_defaults_for_what_its_script_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\nenv\n")
    (tmp_path / "sbatch").chmod(0o755)
    said = "#!/bin/sh\n#SBATCH --job-name=n\n\n#SBATCH --time=5\n#SBATCH -p x\n"
    (tmp_path / "job.sh").write_text(said + "true\n#SBATCH --qos=unread\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    given = {
        "SLURM_JOB_ID": "7",
        "SLURM_MEM_PER_CPU": "300",
        "SLURM_CONF": "/etc/slurm.conf",
        "SBATCH_JOB_NAME": "mine",
        "SBATCH_TIMELIMIT": "1",
        "SBATCH_PARTITION": "short",
        "SBATCH_WAIT": "1",
        "SBATCH_ACCOUNT": "ours",
        "SBATCH_QOS": "high",
        "SCANCEL_INTERACTIVE": "true",
        "SQUEUE_PARTITION": "short",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    answer = Slurm().ask(["sbatch", "--parsable", "job.sh"], 10, str(tmp_path))

    seen = dict(line.partition("=")[::2] for line in answer.output.splitlines())
    kept = {"SLURM_CONF", "SBATCH_ACCOUNT", "SBATCH_QOS"}
    assert {name for name in given if name in seen} == kept


def test_a_command_that_is_not_there_was_not_executed() -> None:
    assert ask(["/no/such/command"], 1).code == NOT_EXECUTED


SQUEUE = """\
1|PENDING|Priority|motoko-s-1-1-a
2_3|RUNNING|None|with|bar
3|TIMEOUT|TimeLimit|c
4|OUT_OF_MEMORY|OutOfMemory|d
5|NODE_FAIL|NodeDown|e
6|PREEMPTED|None|f
7|CANCELLED|None|g
8|FAILED|NonZeroExitCode|h
9|COMPLETING|None|i
"""


def test_slurm_tells_of_all_jobs() -> None:
    found = Slurm().parse_status(SQUEUE)

    assert found["1"].phase is Phase.PENDING and found["1"].reason == "Priority"
    assert found["2_3"].phase is Phase.RUNNING and found["2_3"].name == "with|bar"
    classes = {job_id: found[job_id].failure for job_id in "345678"}
    assert classes == {
        "3": WALLTIME,
        "4": MEMORY,
        "5": INFRASTRUCTURE,
        "6": PREEMPTED,
        "7": None,
        "8": None,
    }
    assert found["7"].is_cancelled and found["9"].phase is Phase.RUNNING


def test_slurms_accounts_tell_of_ends() -> None:
    slurm = Slurm()

    found = slurm.parse_accounting(
        "1|CANCELLED by 7|0:15|n1|2026-11-22T01:21:13|n\n2|FAILED|3:0|n1|Unknown|n|m\n"
        "3|CANCELLED by 0|0:0|None assigned|2026-11-22T01:21:13|n\n"
    )
    found |= slurm.parse_accounting(
        "JobId=9 ArrayJobId=8 ArrayTaskId=4 JobName=n JobState=COMPLETED ExitCode=0:0\n"
    )

    assert found["1"].is_cancelled and found["1"].exit_code == -15
    assert found["1"].canceller == 7
    assert found["1"].started == datetime(2026, 11, 22, 1, 21, 13).timestamp()
    assert found["2"].exit_code == 3 and found["2"].name == "n|m"
    assert found["2"].was_placed and found["2"].started is None
    assert not found["3"].was_placed and found["3"].started is None
    assert found["8_4"].phase is Phase.ENDED and found["8_4"].exit_code == 0


@pytest.mark.parametrize(
    ("said", "is_system"),
    [
        # Launched for a second time, as a controller does that has forgotten the first.
        ("JobState=CANCELLED ExitCode=0:0 NodeList=n1 StartTime=2026-11-22T01:21:20", True),
        # Cancelled by hand: the signal that ended its script is told.
        ("JobState=CANCELLED ExitCode=0:15 NodeList=n1 StartTime=2026-11-22T01:21:20", False),
        ("JobState=CANCELLED ExitCode=0:0 NodeList=n1 StartTime=2026-11-22T01:21:13", False),
        (
            "JobState=CANCELLED ExitCode=0:0 NodeList=(null) StartTime=2026-11-22T01:21:20",
            False,
        ),
        ("JobState=CANCELLED ExitCode=0:0 NodeList=n1 StartTime=Unknown", False),
        ("JobState=FAILED ExitCode=0:0 NodeList=n1 StartTime=2026-11-22T01:21:20", False),
        ("1|CANCELLED by 0|0:0|n1|2026-11-22T01:21:20|n", True),
        ("1|CANCELLED by 7|0:0|n1|2026-11-22T01:21:20|n", False),
        ("1|CANCELLED by 0|0:0|None assigned|2026-11-22T01:21:20|n", False),
    ],
)
def test_what_slurm_cancels_itself_is_told_from_what_somebody_cancels(
    said: str, is_system: bool
) -> None:
    begun = datetime(2026, 11, 22, 1, 21, 13).timestamp()
    line = said if said[0] == "1" else f"JobId=1 JobName=n {said}"

    [status] = Slurm().parse_accounting(f"{line}\n").values()

    assert is_by_system(status, begun) is is_system
    if is_system:
        assert is_by_system(status, None)  # it could not be launched


QSTAT = """<?xml version='1.0'?>
<job_info><queue_info><job_list state="running"><JB_job_number>5</JB_job_number>
<JB_name>n5</JB_name><state>r</state><slots>1</slots></job_list></queue_info>
<job_info>
<job_list state="pending"><JB_job_number>6</JB_job_number><JB_name>n6</JB_name>
<state>hqw</state><tasks>2</tasks></job_list>
<job_list state="pending"><JB_job_number>7</JB_job_number><JB_name>n7</JB_name>
<state>Eqw</state></job_list></job_info></job_info>
"""
QACCT = """\
==============================================================
qname        all.q
jobname      n1
jobnumber    1
taskid       undefined
start_time   Sat Nov 21 11:00:00 2026
failed       0
exit_status  3
==============================================================
jobname      n2
jobnumber    2
taskid       4
start_time   Sat Nov 21 11:00:00 2026
failed       37  : qmaster enforced h_rt, h_cpu, or h_vmem limit
exit_status  137                  (Killed)
==============================================================
jobname      n3
jobnumber    3
taskid       undefined
start_time   -/-
failed       0
exit_status  0
"""


def test_grid_engine_tells_of_jobs_and_of_their_ends() -> None:
    sge = GridEngine()

    found = sge.parse_status(QSTAT) | sge.parse_accounting(QACCT)

    assert found["5"].phase is Phase.RUNNING
    assert found["6_2"].phase is Phase.PENDING and found["6_2"].reason == "held"
    assert found["7"].failure == SUBMISSION and "qstat -j 7" in found["7"].reason
    assert found["1"].exit_code == 3 and found["1"].failure is None
    assert found["2_4"].failure == WALLTIME and found["2_4"].exit_code == -9
    assert found["3"].is_cancelled
    assert sge.cancel_command(["5", "6_2"]) == ["qdel", "5,6.2"]


PBS_QSTAT = """\
Job Id: 1.srv
    Job_Name = motoko-a-rather-long-name-that-is-w
\trapped-1
    job_state = Q
    comment = Not Running: no node

Job Id: 2.srv
    Job_Name = b
    job_state = R

Job Id: 3.srv
    Job_Name = c
    job_state = F
    Exit_status = -29

Job Id: 4.srv
    Job_Name = d
    job_state = C
    exit_status = 271
"""


def test_pbs_tells_of_all_jobs() -> None:
    found = Pbs().parse_status(PBS_QSTAT)

    assert found["1.srv"].name == "motoko-a-rather-long-name-that-is-wrapped-1"
    assert found["1.srv"].reason == "Not Running: no node"
    assert found["2.srv"].phase is Phase.RUNNING
    assert found["3.srv"].failure == WALLTIME and found["3.srv"].exit_code is None
    assert found["4.srv"].exit_code == -15
    assert Pbs().parse_status("") == {}


@pytest.mark.parametrize(
    ("text", "wanted"), [("4G", 4096), ("500", 500), (1.5, 2), ("1GiB", 1024), ("100kb", 1)]
)
def test_memory_is_counted_in_megabytes(text: object, wanted: int) -> None:
    assert megabytes(text) == wanted


def test_required_commands_are_those_that_are_used() -> None:
    for system in (Slurm(), GridEngine(), Pbs()):
        needed: Sequence[str] = system.required_commands()

        assert system.submit_command("x")[0] in needed
        assert system.status_command("u")[0] in needed
        assert system.cancel_command(["1"])[0] in needed


@pytest.mark.parametrize("state", ["TIMEOUT", "NODE_FAIL", "CANCELLED by 0", "PREEMPTED"])
def test_what_slurm_has_ended_is_no_success_although_its_code_is_0(state: str) -> None:
    slurm = find_generator("slurm")
    assert isinstance(slurm, BatchGenerator)

    accounts = slurm.parse_accounting(
        f"7|{state}|0:0|h|t|n\n8|COMPLETED|0:0|h|t|n\n9|FAILED|0:9|h|t|n\n"
    )

    assert [one.exit_code for one in accounts.values()] == [None, 0, -9]


CLIENTS = {
    "qselect": """#!/bin/sh
echo "qselect $*" >> asked
printf '1.srv\\n7[].srv\\n'
""",
    "qstat": """#!/bin/sh
echo "qstat $*" >> asked
printf 'Job Id: 1.srv\\n    Job_Name = a\\n    job_state = R\\n'
echo "qstat: Unknown Job Id 7[].srv" >&2
exit 153
""",
}


def test_pbs_is_asked_for_the_jobs_of_one_user_of_which_some_may_end_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in CLIENTS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)

    answer = Pbs().ask(Pbs().status_command("me"), 10)

    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["qselect -u me", "qstat -f -t 1.srv 7[].srv"]
    assert answer.is_good and list(Pbs().parse_status(answer.output)) == ["1.srv"]
    (tmp_path / "qselect").write_text("#!/bin/sh\n")  # none of its jobs is there
    assert Pbs().parse_status(Pbs().ask(["qselect", "-u", "me"], 10).output) == {}
    (tmp_path / "qstat").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "qselect").write_text("#!/bin/sh\necho 1.srv\n")
    assert not Pbs().ask(["qselect", "-u", "me"], 10).is_good


@pytest.mark.parametrize(
    ("system", "job_id", "array", "command"),
    [
        (Slurm(), "7_3", "7", "scontrol update JobId=7 ArrayTaskThrottle=2"),
        (GridEngine(), "7_3", "7", "qalter -tc 2 7"),
        (Pbs(), "7[3].srv", "7[].srv", "qalter -W max_run_subjobs=2 7[].srv"),
    ],
    ids=["slurm", "sge", "pbs"],
)
def test_the_throttle_of_an_array_can_be_changed(
    system: BatchGenerator, job_id: str, array: str, command: str
) -> None:
    assert system.array_of(job_id) == array
    assert job_id in system.array_ids(array, 5)
    assert system.array_of(array) is None or system.name == "pbs"
    assert system.throttle_command(array, 2) == command.split()


SCONTROL = """\
JobId=17 JobName=my job
   UserId=me(1000) GroupId=me(1000) MCS_label=N/A
   Priority=4294901758 Nice=0 Account=ours QOS=long
   JobState=RUNNING Reason=None Dependency=(null)
   RunTime=00:00:10 TimeLimit=00:01:00 TimeMin=N/A
   Partition=fast AllocNode:Sid=n0:1
   ReqNodeList=(null) ExcNodeList=n[7-9]
   NumNodes=2 NumCPUs=8 NumTasks=4 CPUs/Task=2 ReqB:S:C:T=0:0:*:*
   TRES=cpu=8,mem=1000M,node=2,billing=8
   MinCPUsNode=2 MinMemoryNode=500M MinTmpDiskNode=0
   Features=(null) DelayBoot=00:00:00
   OverSubscribe=NO Contiguous=0 Licenses=(null) Network=(null)
   Command=/home/me/job.sh one
   WorkDir=/home/me
   TresPerJob=gres:gpu:tesla:2
"""


def test_a_job_of_slurm_is_submitted_again_with_the_options_that_it_has() -> None:
    facts = Slurm().parse_own_job(SCONTROL)

    assert facts.left_s == 50.0 and facts.directory == "/home/me"
    sbatch, parsable, *options, script, argument = facts.again
    assert (sbatch, parsable, script, argument) == (
        "sbatch",
        "--parsable",
        "/home/me/job.sh",
        "one",
    )
    assert set(options) == {
        "--job-name=my job",
        "--time=00:01:00",
        "--partition=fast",
        "--account=ours",
        "--qos=long",
        "--exclude=n[7-9]",
        "--nodes=2",
        "--ntasks=4",
        "--cpus-per-task=2",
        "--mem=500M",
        "--gpus=tesla:2",
        "--exclusive",
    }


def test_slurm_is_asked_of_one_cluster_which_it_names() -> None:
    assert list(Slurm().parse_status("CLUSTER: north\n1|RUNNING|None|n\n")) == ["1"]
    for option in ("M=north", "clusters=north,south"):
        with pytest.raises(ReservedOption, match="SLURM_CLUSTERS"):
            Slurm([option])
