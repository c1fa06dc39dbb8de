"""Batch systems on one machine that do as they are told: Slurm, Grid Engine and PBS.

`install` puts their commands into a directory. Jobs are processes. What goes wrong is written
into files beside them: ``busy`` (so many submissions are refused for now), ``room`` (those of
more jobs at once are), ``late`` (the answer to so many is lost), ``held`` (jobs stay pending),
``blind`` (so many status commands fail), ``empty`` (so many know of no job), ``stubborn`` (so
many changes of throttles fail), ``crowded`` (jobs with these words in their scripts are refused
for now). Commands are called at the same time: whoever reads one of its files finds all of it,
or none.
Standard library only: it is copied, and executed without site packages.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

COMMANDS = {
    "slurm": ("sbatch", "squeue", "sacct", "scancel", "scontrol"),
    "sge": ("qsub", "qstat", "qacct", "qdel", "qalter"),
    "pbs": ("qsub", "qselect", "qstat", "qdel", "qalter"),
}
PREFIX = {"slurm": "#SBATCH ", "sge": "#$ ", "pbs": "#PBS "}
NAME = {"slurm": "--job-name=", "sge": "-N ", "pbs": "-N "}
TASK = {"slurm": "SLURM_ARRAY_TASK_ID", "sge": "SGE_TASK_ID", "pbs": "PBS_ARRAY_INDEX"}


def install(directory, dialect):
    """Make the commands of one system in a directory, which goes on the PATH."""
    place = Path(directory)
    (place / "bin").mkdir(parents=True)
    (place / "dialect").write_text(dialect)
    for command in (*COMMANDS[dialect], "advance"):
        file = place / "bin" / command
        text = Path(__file__).read_text()
        file.write_text(f"#!{sys.executable} -IS\n{text}")
        file.chmod(0o755)
    return place / "bin"


def put(file, text):
    """Write a file that appears complete."""
    aside = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
    aside.write_text(text)
    aside.rename(file)


class Fake:
    """The state of one of them, in a directory."""

    def __init__(self, place):
        self.place = Path(place)
        self.started_again = []
        self.dialect = (self.place / "dialect").read_text()

    def count(self, name):
        """How often one of its commands was called."""
        file = self.place / f"n-{name}"
        return file.stat().st_size if file.exists() else 0

    def called(self, name):
        """Count a call."""
        with open(self.place / f"n-{name}", "a") as file:
            file.write("x")

    def uses_up(self, name):
        """Whether a fault is due; each is used up by that."""
        file = self.place / name
        with self.turn():
            try:
                left = int(file.read_text() or 0)
            except FileNotFoundError:
                return False
            if left > 1:
                put(file, str(left - 1))
            else:
                file.unlink()
        return left > 0

    @contextmanager
    def turn(self):
        """Nobody else changes anything meanwhile."""
        with open(self.place / "turn", "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield

    @contextmanager
    def new_id(self):
        """The next number."""
        number = 1
        while True:
            try:
                os.close(os.open(self.place / f"id-{number}", os.O_CREAT | os.O_EXCL))
                break
            except FileExistsError:
                number += 1
        yield number

    def submit(self, script):
        """Take a job, or refuse it."""
        text = Path(script).read_text()
        lines = [
            line.removeprefix(PREFIX[self.dialect])
            for line in text.splitlines()
            if line.startswith(PREFIX[self.dialect])
        ]
        found = re.search(r"(?:--array=|-t |-J )(\d+)-(\d+)", "\n".join(lines))
        tasks = range(int(found[1]), int(found[2]) + 1) if found else [None]
        room, crowded = self.place / "room", self.place / "crowded"
        is_full = room.exists() and len(tasks) > int(room.read_text())
        is_full = is_full or (crowded.exists() and crowded.read_text() in text)
        if self.uses_up("busy") or is_full:
            busy = {
                "slurm": "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job"
                " submission failed: Job violates accounting/QOS policy",
                "sge": "job rejected: only 2 jobs are allowed per user (current job count: 2)",
                "pbs": "qsub: would exceed complex's per-user limit",
            }
            sys.exit(busy[self.dialect])
        if self.dialect == "pbs" and found and len(tasks) == 1:
            sys.exit("qsub: illegal -J value")
        if any("nonsense" in line for line in lines):
            sys.exit("invalid partition specified: nonsense")
        name = next(line.removeprefix(NAME[self.dialect]) for line in lines if "motoko" in line)
        throttle = re.search(r"(?:%|-tc |max_run_subjobs=)(\d+)", "\n".join(lines))
        with self.new_id() as number:
            if throttle:
                self.throttle(number, throttle[1])
            for task in tasks:
                self.begin(self.job_id(number, task), name, text, task, waits=bool(throttle))
            self.advance(number)
        if (self.place / "mute").exists():  # it dies before it has said anything
            (self.place / "mute").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.uses_up("late"):
            sys.exit(
                "sbatch: error: Batch job submission failed: Socket timed out on send/recv"
            )
        array = "[]" if found else ""
        print(f"{number}{array}.fake" if self.dialect == "pbs" else number)

    def job_id(self, number, task):
        """An id as the system writes it."""
        if self.dialect == "pbs":
            return f"{number}.fake" if task is None else f"{number}[{task}].fake"
        return str(number) if task is None else f"{number}_{task}"

    def throttle(self, number, most):
        """Let so many jobs of an array execute at once; any number with 0."""
        put(self.place / f"throttle-{number}", str(most))

    def advance(self, number):
        """Start jobs of an array that wait for others of it."""
        throttle = self.place / f"throttle-{number}"
        if not throttle.exists() or (self.place / "held").exists():
            return
        with self.turn():
            most = int(throttle.read_text()) or len(list(self.place.glob("job-*.json")))
            own = [job for job in self.jobs() if re.match(rf"{number}[_\[]", job[0])]
            n_free = most - sum(state == "RUNNING" for _, _, state, _ in own)
            waiting = sorted(
                (json.loads((self.place / f"job-{job_id}.json").read_text())["task"], job_id)
                for job_id, _, state, _ in own
                if state == "PENDING"
            )
            for _, job_id in waiting[: max(0, n_free)]:
                self.start(job_id)

    def begin(self, job_id, name, text, task, waits=False):
        """Execute a job, unless it is to wait."""
        file = self.place / f"job-{job_id}.sh"
        file.write_text(text)
        facts = {"name": name, "pid": None, "task": task, "cwd": str(Path.cwd())}
        if not waits and not (self.place / "held").exists():
            facts["pid"] = self.execute(job_id, facts).pid
        put(self.place / f"job-{job_id}.json", json.dumps(facts))

    def execute(self, job_id, facts):
        """Start the process of a job, and of whoever notes its end."""
        wrapper = 'bash "$1" >/dev/null 2>&1; echo $? > "$2.new"; mv "$2.new" "$2"'
        place = self.place
        if facts["task"] is not None:
            wrapper += '; "$3" "$4"'
        command = ["bash", "-c", wrapper, "job"]
        command += [str(place / f"job-{job_id}.sh"), str(place / f"job-{job_id}.exit")]
        command += [str(place / "bin" / "advance"), re.match(r"\d+", job_id)[0]]
        environment = dict(os.environ)
        if facts["task"] is not None:
            environment[TASK[self.dialect]] = str(facts["task"])
        return subprocess.Popen(
            command,
            cwd=facts["cwd"],
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start(self, job_id):
        """Start a job that has waited."""
        file = self.place / f"job-{job_id}.json"
        facts = json.loads(file.read_text())
        put(file, json.dumps(facts | {"pid": self.execute(job_id, facts).pid}))

    def again(self, job_id):
        """Start a job a second time, as a controller does that has lost its memory, or one that
        was held."""
        file = self.place / f"job-{job_id}.json"
        facts = json.loads(file.read_text())
        process = self.execute(job_id, facts)
        self.started_again.append(process)
        if facts["pid"] is None:
            put(file, json.dumps(facts | {"pid": process.pid}))

    def jobs(self):
        """All jobs: id, name, what they do, exit code."""
        for file in sorted(self.place.glob("job-*.json")):
            job_id = file.name.removeprefix("job-").removesuffix(".json")
            facts = json.loads(file.read_text())
            end = self.place / f"job-{job_id}.exit"
            told = self.place / f"job-{job_id}.state"
            if told.exists():  # a state that the test wants told
                # Who is killed by SIGTERM or SIGKILL: 256 + 15 with PBS, 128 + 9 elsewhere.
                killed = 271 if self.dialect == "pbs" else 137
                state = told.read_text().strip()
                code = killed if state == "CANCELLED" and facts["pid"] is not None else None
                yield job_id, facts["name"], state, code
            elif facts["pid"] is None:
                yield job_id, facts["name"], "PENDING", None
            elif end.exists():
                code = int(end.read_text())
                yield job_id, facts["name"], "FAILED" if code else "COMPLETED", code
            else:
                yield job_id, facts["name"], "RUNNING", None

    def tell(self, job_id, state):
        """Say that a job is in this state, whatever it is."""
        put(self.place / f"job-{job_id}.state", state)

    def change(self, arguments):
        """Change the throttle of an array."""
        if self.uses_up("stubborn"):
            sys.exit("denied: it cannot be changed now")
        words = " ".join(arguments)
        most = re.search(r"(?:ArrayTaskThrottle=|-tc |max_run_subjobs=)(\d+)", words)
        number = re.search(r"JobId=(\d+)" if self.dialect == "slurm" else r"(\d+)\S*$", words)
        if most is None or number is None:
            sys.exit("Invalid job id specified")
        self.throttle(number[1], most[1])
        self.advance(number[1])

    def cancel(self, ids):
        """End jobs, and arrays of them."""
        for file in sorted(self.place.glob("job-*.json")):
            job_id = file.name.removeprefix("job-").removesuffix(".json")
            if job_id not in ids and job_id.partition("_")[0] not in ids:
                continue
            pid = json.loads(file.read_text())["pid"]
            self.tell(job_id, "CANCELLED")
            if pid is not None:
                try:
                    os.killpg(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
            self.advance(re.match(r"\d+", job_id)[0])

    # what the commands print

    def squeue(self):
        for job_id, name, state, _ in self.jobs():
            reason = "Priority" if state == "PENDING" else "None"
            print(f"{job_id}|{state}|{reason}|{name}")

    def sacct(self, ids):
        for job_id, name, state, code in self.jobs():
            if job_id in ids or job_id.partition("_")[0] in ids:
                # Who was ended by a signal: a shell says 128 more.
                said = f"0:{code - 128}" if code and code > 128 else f"{code or 0}:0"
                place = "None assigned|None" if code is None else "n1|Unknown"
                print(f"{job_id}|{state}|{said}|{place}|{name}")

    def qstat_sge(self):
        print("<job_info><queue_info>")
        for job_id, name, state, _ in self.jobs():
            number, _, task = job_id.partition("_")
            letter = {"RUNNING": "r", "PENDING": "qw", "EQW": "Eqw"}.get(state)
            if letter:
                print(f"<job_list><JB_job_number>{number}</JB_job_number>")
                print(f"<JB_name>{name}</JB_name><state>{letter}</state>")
                print(f"<tasks>{task}</tasks></job_list>" if task else "</job_list>")
        print("</queue_info></job_info>")

    def qacct(self, number):
        found = False
        for job_id, name, state, code in self.jobs():
            if job_id.partition("_")[0] != number or state in ("RUNNING", "PENDING"):
                continue
            found = True
            is_new = state == "CANCELLED" and code is None
            begun = "-/-" if is_new else "Sat Nov 21 11:00:00 2026"
            failed = "37 : qmaster enforced h_rt" if state == "TIMEOUT" else "0"
            task = job_id.partition("_")[2] or "undefined"
            print("=" * 60)
            print(f"jobname      {name}\njobnumber    {number}\ntaskid       {task}")
            print(f"start_time   {begun}\nfailed       {failed}\nexit_status  {code or 0}")
        if not found:
            sys.exit(f"error: job id {number} not found")

    def qselect(self):
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
        alive = [job_id for job_id, _, state, _ in self.jobs() if state not in ended]
        print("\n".join(dict.fromkeys(re.sub(r"\[\d+\]", "[]", job_id) for job_id in alive)))

    def qstat_pbs(self, ids):
        letters = {"RUNNING": "R", "PENDING": "Q"}
        for job_id, name, state, code in self.jobs():
            if ids and not {job_id, re.sub(r"\[\d+\]", "[]", job_id)}.intersection(ids):
                continue
            print(f"Job Id: {job_id}\n    Job_Name = {name}")
            print(f"    job_state = {letters.get(state, 'F')}")
            if state == "TIMEOUT":
                code = -29
            if code is not None:
                print(f"    Exit_status = {code}")
            print()


def main():
    """Be one of the commands."""
    fake = Fake(Path(sys.argv[0]).resolve().parents[1])
    command, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    fake.called(command)
    if command == "advance":
        fake.advance(arguments[0])
        return
    if command in ("squeue", "qselect") or (command == "qstat" and fake.dialect == "sge"):
        if fake.uses_up("blind"):
            sys.exit(f"{command}: error: Unable to contact the controller")
        if fake.uses_up("empty"):
            if fake.dialect == "sge":
                print("<job_info/>")
            return
    if command in ("sbatch", "qsub"):
        fake.submit(arguments[-1])
    elif command in ("scontrol", "qalter"):
        fake.change(arguments)
    elif command == "qselect":
        fake.qselect()
    elif command == "squeue":
        fake.squeue()
    elif command == "sacct":
        fake.sacct(arguments[arguments.index("-j") + 1].split(","))
    elif command == "qacct":
        fake.qacct(arguments[-1])
    elif command == "qstat" and fake.dialect == "sge":
        fake.qstat_sge()
    elif command == "qstat":
        fake.qstat_pbs([one for one in arguments if not one.startswith("-")])
    elif fake.dialect == "sge":
        fake.cancel(arguments[0].replace(".", "_").split(","))
    else:
        fake.cancel(arguments)


if __name__ == "__main__":
    main()
