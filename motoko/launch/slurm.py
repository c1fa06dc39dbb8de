"""Slurm: sbatch, squeue, sacct (or scontrol, where nobody keeps accounts), scancel."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from motoko.config import parse_walltime
from motoko.config.retry import INFRASTRUCTURE, MEMORY, PREEMPTED, WALLTIME
from motoko.errors import SchedulerOutputError
from motoko.launch.batch_generator import (
    Array,
    BatchGenerator,
    JobStatus,
    OwnFacts,
    Phase,
    Refusal,
    Shape,
)
from motoko.launch.commands import Answer, ask
from motoko.launch.limits import asked_s
from motoko.launch.options import Dialect, split

_PENDING = frozenset(
    "PENDING CONFIGURING REQUEUED REQUEUE_HOLD REQUEUE_FED RESV_DEL_HOLD".split()
)
_FAILURES = {
    "TIMEOUT": WALLTIME,
    "DEADLINE": WALLTIME,
    "OUT_OF_MEMORY": MEMORY,
    "PREEMPTED": PREEMPTED,
    "NODE_FAIL": INFRASTRUCTURE,
    "BOOT_FAIL": INFRASTRUCTURE,
    "REVOKED": INFRASTRUCTURE,
    "LAUNCH_FAILED": INFRASTRUCTURE,
}
#: What is said of a job that was given to none.
_NO_NODES = frozenset({"", "(null)", "None assigned"})
_OVER = frozenset({"COMPLETED", "FAILED", "CANCELLED", *_FAILURES})
_BUSY = re.compile(
    r"submit.*limit|MaxSubmit|temporarily unable|Resource temporarily|too many jobs|MaxJobCount"
    r"|Maximum.*job count|Requested operation is presently disabled|Invalid job array",
    re.IGNORECASE,
)
#: The limit that was met, which Slurm names before it says what it may have been; and those
#: of a single job: what is beyond one of them will never fit.
_LIMIT = re.compile(r"^sbatch: error: (\w+Limit)$", re.MULTILINE)
_OF_ONE_JOB = re.compile(r"(?!.*(?:Submit|Jobs))(?:QOS|Assoc|Part)?M(?:ax|in)")
_AWAY = re.compile(
    r"Unable to contact|Connection (?:refused|timed out)"
    r"|Transport endpoint|Communication connection failure"
    r"|Protocol authentication error|Invalid authentication credential",
    re.IGNORECASE,
)
_UNCLEAR = re.compile(
    r"Socket timed out|Zero Bytes were transmitted|Connection reset|Message receive failure",
    re.IGNORECASE,
)
#: What `scontrol` calls the options that a job was submitted with, and what none of them is.
_GIVEN = {
    "JobName": "job-name",
    "TimeLimit": "time",
    "Partition": "partition",
    "Account": "account",
    "QOS": "qos",
    "Reservation": "reservation",
    "NumNodes": "nodes",
    "NumTasks": "ntasks",
    "CPUs/Task": "cpus-per-task",
    "MinMemoryNode": "mem",
    "MinMemoryCPU": "mem-per-cpu",
    "TresPerJob": "gpus",
    "TresPerNode": "gres",
    "Features": "constraint",
    "Licenses": "licenses",
    "ReqNodeList": "nodelist",
    "ExcNodeList": "exclude",
}
_NOT_GIVEN = frozenset({"", "(null)", "N/A"})
#: What else `sbatch` calls in its environment than in its options.
_VARIABLES = {"time": "TIMELIMIT", "mem": "MEM_PER_NODE"}
#: Reserved ones that are in no script.
_NEVER = ("SBATCH_ARRAY_INX", "SBATCH_WAIT", "SBATCH_REQUEUE")
#: What begins so has `squeue` hide jobs, and `scancel` leave them, or ask whether to go on.
_FOR_PEOPLE = ("SQUEUE_", "SCANCEL_")
#: Of a job's own environment, what says where Slurm is, and who asks.
_PLACE = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
_SUBMITTED = re.compile(r"(?:Submitted batch job )?(\d+)(?:;.*| on cluster .*)?")


class Slurm(BatchGenerator):
    """Hands runs to Slurm."""

    name = "slurm"
    prefix = "#SBATCH"
    array_variable = "SLURM_ARRAY_TASK_ID"
    own_variables = ("SLURM_JOB_ID",)
    busy, away, unclear = _BUSY, _AWAY, _UNCLEAR
    dialect = Dialect(
        reserved={
            "job-name": "by its name a job is found again",
            "output": "standard output goes into the run directory",
            "error": "standard error goes into the run directory",
            "open-mode": "standard output goes into the run directory",
            "input": "scripts have no standard input",
            "chdir": "a job begins in its run directory",
            "array": "`array: true` makes arrays",
            "parsable": "it reads the answer of sbatch",
            "wrap": "it writes the script",
            "wait": "it waits for the job itself",
            "test-only": "`motoko launcher --dry-run` submits nothing",
            "requeue": "it tries runs again itself (`retry`)",
            "no-requeue": "it says so already",
            "clusters": "it asks one cluster about all jobs; SLURM_CLUSTERS in the environment"
            " of the launcher says which",
        },
        aliases={
            "J": "job-name",
            "o": "output",
            "e": "error",
            "i": "input",
            "D": "chdir",
            "workdir": "chdir",
            "a": "array",
            "W": "wait",
            "N": "nodes",
            "n": "ntasks",
            "c": "cpus-per-task",
            "t": "time",
            "p": "partition",
            "A": "account",
            "G": "gpus",
            "q": "qos",
            "d": "dependency",
            "C": "constraint",
            "w": "nodelist",
            "x": "exclude",
            "M": "clusters",
            "cluster": "clusters",
        },
    )

    def required_commands(self) -> Sequence[str]:
        return ("sbatch", "squeue", "scancel")

    def directives(
        self, name: str, shape: Shape, log: str, array: Array | None = None
    ) -> list[str]:
        given = shape.resources
        neutral = ["nodes=1", f"ntasks={given.nproc}"]
        if given.mem_mb is not None:
            neutral.append(f"mem={given.mem_mb}M")
        if given.walltime_s is not None:
            neutral.append(f"time={given.clock}")
        if given.gpus is not None:
            neutral.append(f"gpus={given.gpus}")
        if given.account is not None:
            neutral.append(f"account={given.account}")
        if given.partition is not None:
            neutral.append(f"partition={given.partition}")
        options = self.dialect.merged(neutral, shape.options)
        own = [
            f"--job-name={name}",
            f"--output={log}",
            "--open-mode=append",
            "--no-requeue",
            "--kill-on-invalid-dep=yes",
        ]
        if array is not None:
            most = f"%{array.most_at_once}" if array.most_at_once else ""
            own.append(f"--array=0-{array.size - 1}{most}")
        return [*own, *map(_as_argument, options)]

    def walltime_s(self, options: Sequence[str]) -> float | None:
        given = self.dialect.value(options, "time")
        if given is not None and given.isdecimal():  # minutes, and none of them is no limit
            given = f"{given}m" if given.strip("0") else "unlimited"
        return asked_s(given)

    def submit_command(self, script: str) -> list[str]:
        return ["sbatch", "--parsable", script]

    def ask(
        self, command: Sequence[str], timeout_s: float, directory: str | None = None
    ) -> Answer:
        script = Path(directory or ".", command[-1]) if command[0] == "sbatch" else None
        return ask(command, timeout_s, directory, _environment(os.environ, script))

    def refusal(self, words: str) -> Refusal:
        found, limits = super().refusal(words), _LIMIT.findall(words)
        if found is Refusal.BUSY and limits and all(map(_OF_ONE_JOB.match, limits)):
            return Refusal.REFUSED
        return found

    def parse_submission(self, output: str) -> str:
        found = _SUBMITTED.fullmatch(output.strip().rpartition("\n")[2])
        if found is None:
            raise SchedulerOutputError("sbatch", output)
        return found[1]

    def status_command(self, user: str) -> list[str]:
        return ["squeue", "-h", "-r", "-t", "all", "-u", user, "-o", "%i|%T|%r|%j"]

    def parse_status(self, output: str) -> dict[str, JobStatus]:
        found = {}
        for line in output.splitlines():
            if line.startswith("CLUSTER: "):  # which it says if it was told of clusters
                continue
            parts = line.split("|", 3)
            if len(parts) != 4 or not parts[0][:1].isdigit():
                raise SchedulerOutputError("squeue", line)
            job_id, state, reason, name = parts
            found[job_id] = _status(job_id, state, name, reason)
        return found

    def accounting_commands(self, ids: Sequence[str]) -> list[list[str]]:
        show = [["scontrol", "-o", "show", "job", job_id] for job_id in ids]
        fields = "JobID,State,ExitCode,NodeList,Start,JobName"
        return [["sacct", "-n", "-P", "-X", "-j", ",".join(ids), "-o", fields], *show]

    def parse_accounting(self, output: str) -> dict[str, JobStatus]:
        found = {}
        for line in output.splitlines():
            if line.startswith("JobId="):
                said = dict(re.findall(r"(\w+)=(\S*)", line))
                job_id = said["JobId"]
                if "ArrayJobId" in said:
                    job_id = f"{said['ArrayJobId']}_{said.get('ArrayTaskId', '')}"
                state, code, name = said["JobState"], said.get("ExitCode", ""), said["JobName"]
                nodes, start = said.get("NodeList", ""), said.get("StartTime", "")
            elif line.count("|") >= 5:
                job_id, state, code, nodes, start, name = line.split("|", 5)
            else:
                raise SchedulerOutputError("sacct", line)
            is_placed = nodes not in _NO_NODES
            found[job_id] = _status(job_id, state, name, "", code)._replace(
                was_placed=is_placed, started=_time(start) if is_placed else None
            )
        return found

    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        return ["scancel", *ids]

    def throttle_command(self, array_id: str, most: int) -> list[str]:
        return ["scontrol", "update", f"JobId={array_id}", f"ArrayTaskThrottle={most}"]

    def own_job_command(self, job_id: str) -> list[str]:
        return ["scontrol", "show", "job", job_id]

    def parse_own_job(self, output: str) -> OwnFacts:
        said = dict(re.findall(r"(\w+)=(\S+)", output))
        script = re.search(r"^ *Command=(/.*)$", output, re.MULTILINE)
        place = re.search(r"^ *WorkDir=(/.*)$", output, re.MULTILINE)
        limit_s, used_s = _clock(said.get("TimeLimit")), _clock(said.get("RunTime"))
        again: tuple[str, ...] = ()
        if script is not None:
            again = ("sbatch", "--parsable", *_given(output), *_script(script[1]))
        return OwnFacts(
            None if limit_s is None else limit_s - (used_s or 0.0),
            again,
            place[1] if place is not None else None,
        )


def _script(command: str) -> Sequence[str]:
    """A script and its arguments, which Slurm tells with blanks between: its path may have some
    of its own, and then the file is there."""
    words = command.split(" ")
    for n_words in range(1, len(words) + 1):
        path = " ".join(words[:n_words])
        if Path(path).is_file():
            return [path, *shlex.split(" ".join(words[n_words:]))]
    return shlex.split(command)


def _given(output: str) -> Iterator[str]:
    """The options that a job executes with: those of the command line of `sbatch`, or of its
    environment, are not in its script."""
    said = dict(re.findall(r"([\w/]+)=(\S+)", output))
    said |= dict(re.findall(r"(JobName)=(.+)$", output, re.MULTILINE))
    for name, option in _GIVEN.items():
        value = re.sub(r"\bgres[:/]", "", said.get(name, "(null)"))
        value = value.removeprefix("gpu:") if option == "gpus" else value
        if value not in _NOT_GIVEN:
            yield f"--{option}={value}"
    if said.get("OverSubscribe") == "NO":
        yield "--exclusive"


def _environment(variables: Mapping[str, str], script: Path | None) -> dict[str, str]:
    """What commands see: nothing of the job that asks, which would get into those that it
    submits; and no defaults of the user's for what a script says, which stand above it, nor for
    what other commands show and do.
    """
    said = set(_NEVER)
    if script is not None:
        with suppress(OSError), script.open(errors="replace") as lines:  # sbatch says it
            said.update(_said(lines))
    is_job = bool(variables.get("SLURM_JOB_ID"))
    return {
        name: value
        for name, value in variables.items()
        if name not in said
        and not name.startswith(_FOR_PEOPLE)
        and not (is_job and name.startswith("SLURM_") and name not in _PLACE)
    }


def _said(script: Iterable[str]) -> Iterator[str]:
    """The variables that mean the same as a script's directives, which end where its commands
    begin."""
    for line in script:
        if line.strip() and not line.startswith("#"):
            return
        if line.startswith("#SBATCH "):
            option = split(line.removeprefix("#SBATCH "))[0]
            name = Slurm.dialect.aliases.get(option, option)
            yield "SBATCH_" + _VARIABLES.get(name, name.upper().replace("-", "_"))


def _clock(text: str | None) -> float | None:
    try:
        return parse_walltime(text)
    except ValueError:  # UNLIMITED, or nothing yet
        return None


def _time(text: str) -> float | None:
    """A time of this host's clock, as Slurm's commands write it."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:  # Unknown, or in a format that the user's environment asks for
        return None


def _status(job_id: str, words: str, name: str, reason: str, code: str = "") -> JobStatus:
    state, _, canceller = words.partition(" by ")  # CANCELLED by 1000
    state = state.partition(" ")[0].rstrip("+")
    if state in _PENDING:
        return JobStatus(job_id, Phase.PENDING, state, name, reason)
    if state not in _OVER:
        return JobStatus(job_id, Phase.RUNNING, state, name)
    return JobStatus(
        job_id,
        Phase.ENDED,
        state,
        name,
        # What Slurm has ended itself has the code 0 too.
        exit_code=0 if state == "COMPLETED" else _exit_code(code) or None,
        failure=_FAILURES.get(state),
        is_cancelled=state == "CANCELLED",
        canceller=int(canceller) if canceller.isdigit() else None,
    )


def _exit_code(text: str) -> int | None:
    code, colon, number = text.partition(":")
    if not colon or not code.isdigit() or not number.isdigit():
        return None
    return -int(number) if int(number) else int(code)


def _as_argument(option: str) -> str:
    name, value = split(option)
    if len(name) == 1:
        return f"-{name}" if value is None else f"-{name} {value}"
    return f"--{name}" if value is None else f"--{name}={value}"
