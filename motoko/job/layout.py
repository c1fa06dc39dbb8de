"""Names of the files in a run directory: every path that both sides must agree on.

Files of Motoko's own start with ``.motoko-``. What belongs to one attempt carries its number,
so that a late writer of an earlier attempt cannot be mistaken for the present one.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    StrPath = Union[str, "os.PathLike[str]"]

#: By environment variable: what a script is told of the attempt before its own.
LAST_VARIABLES = {
    "MOTOKO_LAST_STATE": "state",
    "MOTOKO_LAST_CLASS": "class",
    "MOTOKO_LAST_CAUSE": "cause",
    "MOTOKO_LAST_EXIT_CODE": "exit_code",
    "MOTOKO_LAST_SIGNAL": "signal",
    "MOTOKO_LAST_LINES": "stderr",
}

PREFIX = ".motoko-"
RUN_FILE = PREFIX + "run.json"
FINISHED = "FINISHED"
FAILED = "FAILED"
#: How often work on a directory was begun, as text.
JOB_ATTEMPT = "job_attempt.txt"
#: A line of JSON for each segment of the work in a directory that was done.
PROGRESS = "job_progress.jsonl"
QUANTITY_SUFFIX = ".csv"


def run_file(run_dir: StrPath) -> str:
    """What the launcher tells the job side: who it is, its values, where to knock."""
    return os.path.join(run_dir, RUN_FILE)


def token_file(run_dir: StrPath, attempt: int) -> str:
    """Whoever links this file executes the attempt."""
    return os.path.join(run_dir, f"{PREFIX}token-{attempt}")


def refusal_prefix(attempt: int) -> str:
    """How the names of all notes about refused starts of an attempt begin."""
    return f"{PREFIX}refused-{attempt}-"


def refusal_file(run_dir: StrPath, attempt: int) -> str:
    """A note that a further start of an attempt was refused; another call, another name."""
    return os.path.join(run_dir, f"{refusal_prefix(attempt)}{os.urandom(4).hex()}")


def outcome_file(run_dir: StrPath, attempt: int) -> str:
    """Exit code, times and host of an attempt that is over."""
    return os.path.join(run_dir, f"{PREFIX}outcome-{attempt}")


def handed_file(run_dir: StrPath, attempt: int) -> str:
    """Where a script of an attempt names the job that it has handed its work on to."""
    return os.path.join(run_dir, f"{PREFIX}handed-on-{attempt}")


def signs_file(run_dir: StrPath, attempt: int) -> str:
    """The signs of failures that were there before an attempt was begun, as JSON."""
    return os.path.join(run_dir, f"{PREFIX}signs-{attempt}")


def warning_file(run_dir: StrPath, attempt: int) -> str:
    """A note that an attempt was told that its walltime is nearly over; empty."""
    return os.path.join(run_dir, f"{PREFIX}warned-{attempt}")


def job_script(attempt: int) -> str:
    """The name of the script that a batch system was given for an attempt."""
    return f"{PREFIX}job-{attempt}.sh"


def job_ticket(run_dir: StrPath, attempt: int) -> str:
    """What the launcher knows of the batch job of an attempt."""
    return os.path.join(run_dir, f"{PREFIX}job-{attempt}.json")


def cancel_file(run_dir: StrPath, attempt: int) -> str:
    """Made when an attempt is to end that shares its job with others."""
    return os.path.join(run_dir, f"{PREFIX}cancel-{attempt}")


def scheduler_log(attempt: int) -> str:
    """The name of the file for what a batch system says itself of an attempt's job."""
    return f"{PREFIX}scheduler-{attempt}.log"


def journal_prefix(attempt: int) -> str:
    """How the names of all journals of an attempt begin."""
    return f"{PREFIX}journal-{attempt}-"


def journal_file(run_dir: StrPath, attempt: int, host: str, pid: int) -> str:
    """A journal of this writer alone; another call gives another name."""
    word = os.urandom(4).hex()
    return os.path.join(run_dir, f"{journal_prefix(attempt)}{safe_name(host)}-{pid}-{word}")


def quantity_file(run_dir: StrPath, name: str) -> str:
    """The values of one quantity, a row a step."""
    return os.path.join(run_dir, name + QUANTITY_SUFFIX)


def output_file(run_dir: StrPath, run_name: str, run_id: int) -> str:
    """Standard output of the run's script."""
    return os.path.join(run_dir, f"{safe_name(run_name)}.o{run_id}")


def error_file(run_dir: StrPath, run_name: str, run_id: int) -> str:
    """Standard error of the run's script."""
    return os.path.join(run_dir, f"{safe_name(run_name)}.e{run_id}")


def attempt_dir(run_dir: StrPath, attempt: int) -> str:
    """Where the launcher sets aside what an earlier attempt left."""
    return os.path.join(run_dir, f"attempt-{attempt}")


def is_attempt_dir(name: str) -> bool:
    """Whether a name in a run directory is that of what an earlier attempt left."""
    return name.startswith("attempt-") and name[len("attempt-") :].isdecimal()


def safe_name(text: str) -> str:
    """The text as one component of a path, with ``_`` for what does not belong there.

    Letters and digits of any alphabet and ``+-=._`` stay; the result is never empty, hidden or
    longer than 100 characters or 200 bytes. Different texts may give the same name.
    """
    kept = "".join(c if c.isalnum() or c in "+-=._" else "_" for c in text)[:100]
    kept = kept.encode()[:200].decode(errors="ignore")
    return "_" + kept[1:] if kept.startswith(".") else kept or "_"
