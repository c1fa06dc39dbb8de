"""PBS, as OpenPBS, PBS Professional and Torque have it: qsub, qstat, qdel."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from motoko.config import parse_walltime
from motoko.config.retry import MEMORY, WALLTIME
from motoko.errors import SchedulerOutputError
from motoko.launch.batch_generator import (
    Array,
    BatchGenerator,
    JobStatus,
    OwnFacts,
    Phase,
    Shape,
)
from motoko.launch.commands import Answer
from motoko.launch.limits import asked_s
from motoko.launch.options import Dialect, split

_BUSY = re.compile(
    r"would exceed|limit.*(?:reached|exceeded)|Maximum number of jobs|too many jobs"
    r"|exceeds? .*max(?:imum)?.*jobs|Array job exceeds",
    re.IGNORECASE,
)
_AWAY = re.compile(
    r"cannot connect|Connection refused|Communication failure|timed? ?out|No route to host"
    r"|server (?:is )?(?:not running|shutting down)",
    re.IGNORECASE,
)
_UNCLEAR = re.compile(r"Premature end of message|End of File", re.IGNORECASE)
_SUBMITTED = re.compile(r"\d+(?:\[\])?(?:\.[\w.-]+)?")
#: With which `qstat` tells of the others when it does not know a job, or only from its history.
_GONE = (153, 35)
_TASK = re.compile(r"\[\d+\]")
_WAITING = {"Q": "", "H": "held", "W": "waits for its time", "T": "being moved", "M": "moved"}
_OVER = frozenset("FCX")
#: Codes by which PBS says that it has ended a job itself: PBS Professional's, Torque's.
_FAILURES = {-29: WALLTIME, -28: WALLTIME, -27: MEMORY, -26: MEMORY, -11: WALLTIME, -10: MEMORY}


class Pbs(BatchGenerator):
    """Hands runs to PBS."""

    name = "pbs"
    prefix = "#PBS"
    array_variable = "PBS_ARRAY_INDEX"
    own_variables = ("PBS_JOBID",)
    busy, away, unclear = _BUSY, _AWAY, _UNCLEAR
    dialect = Dialect(
        reserved={
            "N": "by its name a job is found again",
            "o": "standard output goes into the run directory",
            "e": "standard error goes into the run directory",
            "j": "standard output goes into the run directory",
            "k": "standard output goes into the run directory",
            "J": "`array: true` makes arrays",
            "t": "`array: true` makes arrays",
            "S": "its scripts are of bash",
            "r": "it tries runs again itself (`retry`)",
            "d": "a job begins in its run directory",
            "w": "a job begins in its run directory",
            "z": "it reads the answer of qsub",
            "I": "its jobs are not interactive",
        },
        aliases={"queue": "q", "l=nodes": "select", "l=ncpus": "select"},
        lists=frozenset({"l", "W"}),
    )

    def required_commands(self) -> Sequence[str]:
        return ("qsub", "qselect", "qstat", "qdel")

    def directives(
        self, name: str, shape: Shape, log: str, array: Array | None = None
    ) -> list[str]:
        given = shape.resources
        chunk = f"select=1:ncpus={given.nproc}:mpiprocs={given.nproc}"
        if given.mem_mb is not None:
            chunk += f":mem={given.mem_mb}mb"
        if given.gpus is not None:
            chunk += f":ngpus={given.gpus}"
        neutral = [f"l={chunk}"]
        if given.walltime_s is not None:
            neutral.append(f"l=walltime={given.clock}")
        if given.account is not None:
            neutral.append(f"A={given.account}")
        if given.partition is not None:
            neutral.append(f"q={given.partition}")
        options = self.dialect.merged(neutral, shape.options)
        own = [f"-N {name}", f"-o {log}", "-j oe", "-S /bin/bash", "-r n"]
        if array is not None:
            own.append(f"-J 0-{array.size - 1}")
            if array.most_at_once:
                own.append(f"-W max_run_subjobs={array.most_at_once}")
            own[own.index("-r n")] = "-r y"  # arrays of PBS must be; the token lets one execute
        return [*own, *map(_as_argument, options)]

    def walltime_s(self, options: Sequence[str]) -> float | None:
        return asked_s(self.dialect.value(options, "l=walltime"))

    def submit_command(self, script: str) -> list[str]:
        return ["qsub", script]

    def parse_submission(self, output: str) -> str:
        for line in reversed(output.splitlines()):
            if _SUBMITTED.fullmatch(line.strip()):
                return line.strip()
        raise SchedulerOutputError("qsub", output)

    def status_command(self, user: str) -> list[str]:
        return ["qselect", "-u", user]

    def ask(
        self, command: Sequence[str], timeout_s: float, directory: str | None = None
    ) -> Answer:
        """`qstat` gives no details by user, so it is asked for the jobs that `qselect` lists: a
        server may have those of a thousand users."""
        answer = super().ask(command, timeout_s, directory)
        ids = answer.output.split()
        if command[0] == "qselect" and answer.is_good and ids:
            return self.ask(["qstat", "-f", "-t", *ids], timeout_s)
        is_told = command[0] == "qstat" and answer.code in _GONE
        return answer._replace(code=0) if is_told else answer

    def parse_status(self, output: str) -> dict[str, JobStatus]:
        found = {}
        for job_id, said in _jobs(output):
            state = said.get("job_state", "")
            if len(state) != 1:
                raise SchedulerOutputError("qstat", f"{job_id}: {said}"[:200])
            found[job_id] = _status(job_id, state, said)
        return found

    def accounting_commands(self, ids: Sequence[str]) -> list[list[str]]:
        # From the history; Torque keeps what has ended for a while where all others are.
        return [["qstat", "-x", "-f", *ids], ["qstat", "-f", *ids]]

    def parse_accounting(self, output: str) -> dict[str, JobStatus]:
        if output.lstrip().startswith("<"):  # Torque means XML by -x
            return {}
        return self.parse_status(output)

    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        return ["qdel", *ids]

    def array_ids(self, job_id: str, size: int) -> list[str]:
        return [job_id.replace("[]", f"[{number}]", 1) for number in range(size)]

    def array_of(self, job_id: str) -> str | None:
        array, n_found = _TASK.subn("[]", job_id, count=1)
        return array if n_found else None

    def throttle_command(self, array_id: str, most: int) -> list[str]:
        return ["qalter", "-W", f"max_run_subjobs={most}", array_id]

    def own_job_command(self, job_id: str) -> list[str]:
        return ["qstat", "-f", job_id]

    def parse_own_job(self, output: str) -> OwnFacts:
        for _, said in _jobs(output):
            limit, used = (
                said.get("Resource_List.walltime"),
                said.get("resources_used.walltime"),
            )
            given = shlex.split(said.get("Submit_arguments", said.get("submit_args", "")))
            place = re.search(r"PBS_O_WORKDIR=([^,\n]*)", said.get("Variable_List", ""))
            return OwnFacts(
                parse_walltime(limit) - (_seconds(used)) if limit else None,
                ("qsub", *given) if given else (),
                place[1] if place is not None else None,
            )
        return OwnFacts()


def _seconds(clock: str | None) -> float:
    parts = [int(part) for part in (clock or "0").split(":")]
    return float(sum(part * 60**i for i, part in enumerate(reversed(parts))))


def _jobs(output: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The ids with what is said of them; lines that go on begin with a tab."""
    for block in re.split(r"^Job Id: ?", output.replace("\n\t", ""), flags=re.MULTILINE)[1:]:
        first, _, rest = block.partition("\n")
        yield first.strip(), dict(re.findall(r"^ +([\w.]+) = (.*)$", rest, re.MULTILINE))


def _status(job_id: str, state: str, said: dict[str, str]) -> JobStatus:
    name, reason = said.get("Job_Name", ""), said.get("comment", "")
    if state in _WAITING:
        return JobStatus(job_id, Phase.PENDING, state, name, reason or _WAITING[state])
    if state not in _OVER:
        return JobStatus(job_id, Phase.RUNNING, state, name)
    text = said.get("Exit_status", said.get("exit_status", ""))
    code = int(text) if re.fullmatch(r"-?\d+", text) else None
    failure = _FAILURES.get(code) if code is not None else None
    if code is not None and code >= 256:
        code = 256 - code
    elif code is not None and code > 128:
        code = 128 - code
    is_cancelled = code is None
    if code is not None and code < 0 and failure is not None:
        code = None
    return JobStatus(
        job_id,
        Phase.ENDED,
        state,
        name,
        exit_code=code,
        failure=failure,
        is_cancelled=is_cancelled,
    )


def _as_argument(option: str) -> str:
    name, value = split(option)
    return f"-{name}" if value is None else f"-{name} {value}"
