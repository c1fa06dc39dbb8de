"""Grid Engine: qsub, qstat, qacct, qdel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from motoko.config.retry import SUBMISSION, WALLTIME
from motoko.errors import SchedulerOutputError
from motoko.launch.batch_generator import (
    Array,
    BatchGenerator,
    JobStatus,
    OwnFacts,
    Phase,
    Shape,
)
from motoko.launch.limits import asked_s
from motoko.launch.options import Dialect, split

_BUSY = re.compile(
    r"jobs? (?:are|is) allowed|job limit|too many jobs|maximum number of jobs", re.IGNORECASE
)
_AWAY = re.compile(
    r"commlib|unable to (?:contact|send)|got no connection|"
    r"cl_com|can't connect|connection refused|denied: timeout",
    re.IGNORECASE,
)
_UNCLEAR = re.compile(r"failed receiving|receive timeout", re.IGNORECASE)
_SUBMITTED = re.compile(r"(?:Your job )?(\d+)(?:\.\d+-\d+:\d+)?(?: \(.*)?")
_ENFORCED = ("37", "38")  # the master's own limits of time and memory; time, as a rule


class GridEngine(BatchGenerator):
    """Hands runs to Grid Engine."""

    name = "sge"
    prefix = "#$"
    array_variable = "SGE_TASK_ID"
    own_variables = ("JOB_ID", "SGE_TASK_ID")
    busy, away, unclear = _BUSY, _AWAY, _UNCLEAR
    array_base = 1
    dialect = Dialect(
        reserved={
            "N": "by its name a job is found again",
            "o": "standard output goes into the run directory",
            "e": "standard error goes into the run directory",
            "j": "standard output goes into the run directory",
            "i": "scripts have no standard input",
            "cwd": "a job begins in its run directory",
            "wd": "a job begins in its run directory",
            "t": "`array: true` makes arrays",
            "terse": "it reads the answer of qsub",
            "b": "it writes the script",
            "sync": "it waits for the job itself",
            "verify": "`motoko launcher --dry-run` submits nothing",
            "S": "its scripts are of bash",
            "r": "it tries runs again itself (`retry`)",
        },
        aliases={"queue": "q"},
        lists=frozenset({"l"}),
    )

    def required_commands(self) -> Sequence[str]:
        return ("qsub", "qstat", "qdel")

    def directives(
        self, name: str, shape: Shape, log: str, array: Array | None = None
    ) -> list[str]:
        given = shape.resources
        neutral = []
        if given.nproc > 1:
            neutral.append(f"pe=smp {given.nproc}")
        if given.mem_mb is not None:  # counted for each core
            neutral.append(f"l=h_vmem={-(-given.mem_mb // given.nproc)}M")
        if given.walltime_s is not None:
            neutral.append(f"l=h_rt={given.clock}")
        if given.gpus is not None:
            neutral.append(f"l=gpu={given.gpus}")
        if given.account is not None:
            neutral.append(f"A={given.account}")
        if given.partition is not None:
            neutral.append(f"q={given.partition}")
        options = self.dialect.merged(neutral, shape.options)
        own = [f"-N {name}", "-cwd", f"-o {log}", "-j y", "-S /bin/bash", "-r n"]
        if array is not None:
            own.append(f"-t 1-{array.size}")
            if array.most_at_once:
                own.append(f"-tc {array.most_at_once}")
        return [*own, *map(_as_argument, options)]

    def walltime_s(self, options: Sequence[str]) -> float | None:
        return asked_s(self.dialect.value(options, "l=h_rt"))

    def submit_command(self, script: str) -> list[str]:
        return ["qsub", "-terse", script]

    def parse_submission(self, output: str) -> str:
        for line in output.splitlines():
            found = _SUBMITTED.fullmatch(line.strip())
            if found is not None:
                return found[1]
        raise SchedulerOutputError("qsub", output)

    def status_command(self, user: str) -> list[str]:
        return ["qstat", "-u", user, "-g", "d", "-xml"]

    def parse_status(self, output: str) -> dict[str, JobStatus]:
        try:
            root = ElementTree.fromstring(output)
        except ElementTree.ParseError:
            raise SchedulerOutputError("qstat", output[:200]) from None
        found = {}
        for job in root.iter("job_list"):
            number, state = job.findtext("JB_job_number"), job.findtext("state") or ""
            if number is None:
                raise SchedulerOutputError("qstat", output[:200])
            task = job.findtext("tasks")
            job_id = f"{number}_{task}" if task else number
            name = job.findtext("JB_name") or ""
            found[job_id] = _status(job_id, state, name)
        return found

    def accounting_commands(self, ids: Sequence[str]) -> list[list[str]]:
        numbers = dict.fromkeys(job_id.partition("_")[0] for job_id in ids)
        return [["qacct", "-j", number] for number in numbers]

    def parse_accounting(self, output: str) -> dict[str, JobStatus]:
        found = {}
        for block in re.split(r"^=+$", output, flags=re.MULTILINE):
            said = dict(re.findall(r"^(\w+) +(.*?) *$", block, flags=re.MULTILINE))
            if not said:
                continue
            try:
                number, code = said["jobnumber"], int(said["exit_status"].split()[0])
            except (KeyError, ValueError, IndexError):
                raise SchedulerOutputError("qacct", block[:200]) from None
            task = said.get("taskid", "undefined")
            job_id = number if task in ("undefined", "0") else f"{number}_{task}"
            failed = said.get("failed", "0").split()[:1]
            has_begun = said.get("start_time", "-/-") != "-/-"
            found[job_id] = JobStatus(
                job_id,
                Phase.ENDED,
                "ended" if failed in ([], ["0"]) else f"failed {said['failed'].strip()}",
                said.get("jobname", ""),
                exit_code=128 - code if code > 128 else code,
                failure=WALLTIME if failed and failed[0] in _ENFORCED else None,
                is_cancelled=not has_begun,
            )
        return found

    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        return ["qdel", ",".join(job_id.replace("_", ".") for job_id in ids)]

    def throttle_command(self, array_id: str, most: int) -> list[str]:
        return ["qalter", "-tc", str(most), array_id]

    def own_job_command(self, job_id: str) -> list[str]:
        return ["qstat", "-j", job_id]

    def parse_own_job(self, output: str) -> OwnFacts:
        limit = re.search(r"^hard.resource_list:.*\bh_rt=(\d+)", output, re.MULTILINE)
        number = re.search(r"^job_number: +(\d+)", output, re.MULTILINE)
        return OwnFacts(
            float(limit[1]) if limit is not None else None,
            ("qresub", number[1]) if number is not None else (),
            is_limit=limit is not None,
        )


def _status(job_id: str, state: str, name: str) -> JobStatus:
    if "E" in state:
        reason = f"Grid Engine could not start it: `qstat -j {job_id}` says why"
        return JobStatus(job_id, Phase.ENDED, state, name, reason, failure=SUBMISSION)
    is_waiting = "q" in state or "w" in state
    reason = "held" if is_waiting and "h" in state else ""
    return JobStatus(
        job_id, Phase.PENDING if is_waiting else Phase.RUNNING, state, name, reason
    )


def _as_argument(option: str) -> str:
    name, value = split(option)
    return f"-{name}" if value is None else f"-{name} {value}"
