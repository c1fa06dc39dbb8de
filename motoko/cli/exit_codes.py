"""What the exit code of a command says. The only place where exit codes are written."""

from __future__ import annotations

from motoko import errors

DONE = 0
FAILED = 1
USAGE = 2
MISTAKE = 3
NOT_FOUND = 4
RUNS_FAILED = 5
PROCESSES = 6
DATABASE = 7
GAVE_UP = 8
SYSTEM = 9
FINDINGS = 10
GOES_ON = 11
BUG = 70
INTERRUPTED = 130
NOBODY_READS = 141
TERMINATED = 143

#: Code and meaning, for the reference.
MEANINGS: dict[int, str] = {
    DONE: "done",
    FAILED: "an action, a condition or `main` raised",
    USAGE: "the command line is wrong, or a question was answered with no: nothing was changed",
    MISTAKE: "a mistake in the configuration, the orchestrator or a value that was given",
    NOT_FOUND: "no such workflow, study, job, run, run name, artifact or database, no match, or"
    " every run that matched was left alone",
    RUNS_FAILED: "runs, or jobs of a batch, failed",
    PROCESSES: "a process runs already, does not run or start, or belongs to another host; or a"
    " workflow that is not where it was may be a copy (`motoko place`)",
    DATABASE: "a database does not answer, is lost, or is not one of this version of Motoko",
    GAVE_UP: "conflicting changes, or a system that executes runs, left nothing to try",
    SYSTEM: "the operating system refused: no permission, no space, no such place",
    FINDINGS: "`verify` or `artifacts` found damage or what is stale, an archive of runs is"
    " damaged, or `repair` could not bring all back",
    GOES_ON: "`motoko run --once`, or `--foreground`, has left a workflow that is not finished",
    BUG: "a bug in Motoko: the message says where the traceback lies",
    INTERRUPTED: "interrupted (Ctrl-C)",
    NOBODY_READS: "the reader of the output went away, as in `motoko runs list ... | head -1`",
    TERMINATED: "asked to end (SIGTERM), or its terminal was closed (SIGHUP)",
}

#: The first that fits decides, so that what is special comes before what is general.
_OF_ERRORS: tuple[tuple[type[errors.MotokoError], int], ...] = (
    (errors.RunsFailed, RUNS_FAILED),
    (errors.ActionFailed, FAILED),
    (errors.PhaseFailed, FAILED),
    (errors.UnknownTaskManager, NOT_FOUND),
    (errors.EventNotFound, NOT_FOUND),
    (errors.RunNameNotFound, NOT_FOUND),
    (errors.WorkflowError, MISTAKE),
    (errors.ConfigError, MISTAKE),
    (errors.StudyNotFound, NOT_FOUND),
    (errors.JobNotFound, NOT_FOUND),
    (errors.RunNotFound, NOT_FOUND),
    (errors.NoRunMatches, NOT_FOUND),
    (errors.ForeignDatabase, DATABASE),
    (errors.NoSpaceLeft, SYSTEM),
    (errors.DatabaseClosed, SYSTEM),
    (errors.DatabaseLost, DATABASE),
    (errors.RestoreUnfinished, DATABASE),
    (errors.DatabaseUnavailable, DATABASE),
    (errors.ConflictsExhausted, GAVE_UP),
    (errors.SessionConflict, GAVE_UP),
    (errors.TasksRenumbered, GAVE_UP),
    (errors.ArchiveDamaged, FINDINGS),
    (errors.StudyError, MISTAKE),
    (errors.UnknownGenerator, MISTAKE),
    (errors.LaunchError, GAVE_UP),
    (errors.DaemonError, PROCESSES),
    (errors.PipelineError, MISTAKE),
    (errors.ArtifactNotFound, NOT_FOUND),
    (errors.ArtifactStoreNotFound, NOT_FOUND),
    (errors.ArtifactsDamaged, FINDINGS),
    (errors.ArtifactsRefused, FINDINGS),
    (errors.StoreBusy, PROCESSES),
    (errors.ArtifactError, MISTAKE),
    (errors.BatchRunning, PROCESSES),
    (errors.BatchError, MISTAKE),
    (errors.JobSideError, FAILED),
)


#: A background process that does not start may end with these, for reasons of its own.
_HANDED_ON = (MISTAKE, NOT_FOUND, DATABASE, SYSTEM)


def of(error: errors.MotokoError) -> int:
    """The exit code for an error of Motoko's own."""
    if isinstance(error, errors.StartFailed) and error.exit_code in _HANDED_ON:
        return error.exit_code
    for kind, code in _OF_ERRORS:
        if isinstance(error, kind):
            return code
    return FAILED
