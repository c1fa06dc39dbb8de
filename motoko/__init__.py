"""Motoko: event-driven orchestration of parametric studies.

The public names are resolved when they are used: importing this package imports nothing, so
that a job script pays only for what it needs, under any Python from 3.8 on.
"""

__version__ = "1.0.0.dev0"

import sys

if sys.version_info < (3, 8):
    raise ImportError(
        "Motoko's job side needs Python 3.8 or newer, this is {} ({})".format(
            sys.version.split()[0], sys.executable
        )
    )

TYPE_CHECKING = False
if TYPE_CHECKING:
    from motoko.errors import (
        ActionFailed,
        AlreadyRunning,
        AmbiguousField,
        ArchiveDamaged,
        ArtifactError,
        ArtifactExists,
        ArtifactNotFound,
        ArtifactsDamaged,
        ArtifactsRefused,
        ArtifactStoreNotFound,
        BatchError,
        BatchMistake,
        BatchRunning,
        BatchUnreadable,
        CertificatesNotMade,
        ConditionError,
        ConfigError,
        ConflictsExhausted,
        ConstraintError,
        CyclicSteps,
        DaemonError,
        DatabaseClosed,
        DatabaseFailed,
        DatabaseLost,
        DatabaseRefused,
        DatabaseUnavailable,
        DuplicateStep,
        EntryNotFound,
        EventNotFound,
        ForeignDatabase,
        ForeignOwner,
        InvalidTransition,
        JobNotFound,
        JobSideError,
        LaunchError,
        ManifestUnreadable,
        MarkerUnsafe,
        MarkerUnset,
        MotokoError,
        MovedOrCopied,
        NoRunMatches,
        NoSpaceLeft,
        NotRunning,
        OrchestratorNotLoadable,
        ParametersChanged,
        PathOutside,
        PathTaken,
        PhaseFailed,
        PipelineError,
        ReservedOption,
        RestoreUnfinished,
        RunNameMissing,
        RunNameNotFound,
        RunNotFound,
        RunsExecuting,
        RunsFailed,
        SchedulerOutputError,
        SchemaChanged,
        SchemaError,
        SessionConflict,
        StartFailed,
        StepNotRunnable,
        StepWithoutHandler,
        StoreBusy,
        StudyError,
        StudyExists,
        StudyNotFound,
        SubmissionFailed,
        TasksRenumbered,
        UnknownArchive,
        UnknownField,
        UnknownGenerator,
        UnknownStep,
        UnknownTaskManager,
        WorkerNotLoadable,
        WorkflowError,
        WorkflowMoved,
    )
    from motoko.job import get_run, running, window
    from motoko.task_manager import RunList, TaskManager, TaskSelection
    from motoko.workflow import Workflow, event, no_action

__all__ = [
    "ActionFailed",
    "AlreadyRunning",
    "AmbiguousField",
    "ArchiveDamaged",
    "ArtifactError",
    "ArtifactExists",
    "ArtifactNotFound",
    "ArtifactStoreNotFound",
    "ArtifactsDamaged",
    "ArtifactsRefused",
    "BatchError",
    "BatchMistake",
    "BatchRunning",
    "BatchUnreadable",
    "CertificatesNotMade",
    "ConditionError",
    "ConfigError",
    "ConflictsExhausted",
    "ConstraintError",
    "CyclicSteps",
    "DaemonError",
    "DatabaseClosed",
    "DatabaseFailed",
    "DatabaseRefused",
    "DatabaseLost",
    "DatabaseUnavailable",
    "DuplicateStep",
    "EntryNotFound",
    "EventNotFound",
    "ForeignDatabase",
    "ForeignOwner",
    "InvalidTransition",
    "JobNotFound",
    "JobSideError",
    "LaunchError",
    "ManifestUnreadable",
    "MarkerUnsafe",
    "MarkerUnset",
    "MotokoError",
    "NoRunMatches",
    "NoSpaceLeft",
    "NotRunning",
    "OrchestratorNotLoadable",
    "ParametersChanged",
    "PathOutside",
    "PathTaken",
    "PhaseFailed",
    "PipelineError",
    "ReservedOption",
    "RestoreUnfinished",
    "RunList",
    "RunNameMissing",
    "RunNameNotFound",
    "RunNotFound",
    "RunsExecuting",
    "MovedOrCopied",
    "RunsFailed",
    "SchedulerOutputError",
    "SchemaChanged",
    "SchemaError",
    "SessionConflict",
    "StartFailed",
    "StepNotRunnable",
    "StepWithoutHandler",
    "StoreBusy",
    "StudyError",
    "StudyExists",
    "StudyNotFound",
    "SubmissionFailed",
    "TaskManager",
    "TaskSelection",
    "TasksRenumbered",
    "UnknownArchive",
    "UnknownField",
    "UnknownGenerator",
    "UnknownStep",
    "UnknownTaskManager",
    "WorkerNotLoadable",
    "Workflow",
    "WorkflowError",
    "WorkflowMoved",
    "event",
    "get_run",
    "no_action",
    "running",
    "window",
]

_HOMES = {
    "get_run": "motoko.job",
    "running": "motoko.job",
    "window": "motoko.job",
    "Workflow": "motoko.workflow",
    "event": "motoko.workflow",
    "no_action": "motoko.workflow",
    "TaskManager": "motoko.task_manager",
    "RunList": "motoko.task_manager",
    "TaskSelection": "motoko.task_manager",
}


def load_ipython_extension(shell: object) -> None:
    """``%load_ext motoko`` in a notebook."""
    from importlib import import_module

    import_module("motoko.compat.notebook").load(shell)


def unload_ipython_extension(shell: object) -> None:
    """``%unload_ext motoko`` in a notebook."""
    from importlib import import_module

    import_module("motoko.compat.notebook").unload(shell)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'motoko' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES.get(name, "motoko.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
