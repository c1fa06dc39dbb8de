"""Every error that Motoko raises, and what each of them knows.

::

    MotokoError
      ConfigError (ValueError)                 one or more mistakes in a YAML file
      StudyError
        StudyNotFound  JobNotFound  RunNotFound  EntryNotFound (LookupError)
        NoRunMatches (LookupError)             what was asked for
        StudyExists (FileExistsError)
        ArchiveDamaged (ValueError)            a packed run directory that cannot be read
        ForeignDatabase (ValueError)           not a database of ours, or of a newer format
        DatabaseLost (LookupError)             file, and how many runs' directories are left
        RestoreUnfinished (RuntimeError)       the workflow, and what is to be put back again
        SchemaError (ValueError)               unknown field, wrong type
          SchemaChanged                        bd.yaml no longer fits the database
        ConstraintError (ValueError)           text, position
          UnknownField  AmbiguousField
        InvalidTransition (ValueError)         run, from, to
        DatabaseUnavailable (ConnectionError)  transient, and why
          DatabaseClosed                       its file may not be read
          DatabaseFailed                       its server answers that it cannot
          DatabaseRefused                      a certificate is wrong, missing, expired
          NoSpaceLeft                          on its disk
        CertificatesNotMade (RuntimeError)     for connections over the network
        ConflictsExhausted (RuntimeError)      after n attempts
        SessionConflict (RuntimeError)         transient: what a session read has changed
        TasksRenumbered (RuntimeError)         a session is committed, with other ids
        MarkerUnsafe (ValueError)              file, marker, value
        MarkerUnset (ValueError)               file, marker
      LaunchError
        UnknownGenerator (LookupError)
        SubmissionFailed (RuntimeError)        transient or not
        ReservedOption (ValueError)            where, option, what Motoko needs it for
        SchedulerOutputError (ValueError)
      WorkflowError
        OrchestratorNotLoadable (ImportError)
        RunNameMissing (RuntimeError)
        RunNameNotFound (LookupError)
        ParametersChanged (ValueError)         what is other than when a run name was begun
        UnknownTaskManager (AttributeError)
        EventNotFound (LookupError)
        ConditionError (TypeError)
        ActionFailed (RuntimeError)            event, study; the user's exception as its cause
        RunsFailed (RuntimeError)              runs and their causes
        PhaseFailed (RuntimeError)             phase of a pipeline, and why
      DaemonError
        AlreadyRunning  NotRunning  StartFailed  ForeignOwner (RuntimeError)
        RunsExecuting (RuntimeError)           runs and the hosts that they execute on
        MovedOrCopied (RuntimeError)           where the databases are, and where they were
        WorkflowMoved (RuntimeError)           where its directory is now, if that is known
      PipelineError (ValueError)
        DuplicateStep  CyclicSteps
        UnknownStep (KeyError)                 name, the known ones, the step that requires it
        StepWithoutHandler (LookupError)       step, and the task manager that there is not
        StepNotRunnable                        step, and why
      ArtifactError
        ArtifactExists  ArtifactNotFound (KeyError)
        ArtifactStoreNotFound (LookupError)
        PathTaken (FileExistsError)            something else lies where an artifact was to go
        PathOutside (ValueError)               a path that would leave the store
        UnknownArchive (ValueError)            the name does not say which kind
        ArtifactsDamaged (ValueError)          names of what is missing or changed
        ArtifactsRefused (RuntimeError)        runs, and why what they left cannot be stored
        ManifestUnreadable (ValueError)        not a manifest, or of a newer format
        StoreBusy (TimeoutError)               transient: another process holds the store
      BatchError
        BatchMistake (ValueError)              jobs that cannot be one batch
        BatchUnreadable (ValueError)           not a manifest, or of a newer format
        BatchRunning (RuntimeError)            another process works on this manifest
        WorkerNotLoadable (ImportError)
      JobSideError (RuntimeError)              outside a run, or its run directory is damaged

A constructor takes facts, builds the message from them and keeps them as attributes of the
same names. ``transient`` tells whether trying again later can help. The module is imported by
job scripts too, so it keeps to what Python 3.8 understands.
"""

from __future__ import annotations

from motoko.errors.daemons import (
    AlreadyRunning,
    DaemonError,
    ForeignOwner,
    MovedOrCopied,
    NotRunning,
    RunsExecuting,
    StartFailed,
    WorkflowMoved,
)
from motoko.errors.network import CertificatesNotMade, DatabaseRefused
from motoko.errors.parts import (
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
    CyclicSteps,
    DuplicateStep,
    ManifestUnreadable,
    PathOutside,
    PathTaken,
    PipelineError,
    StepNotRunnable,
    StepWithoutHandler,
    StoreBusy,
    UnknownArchive,
    UnknownStep,
    WorkerNotLoadable,
)
from motoko.errors.root import MotokoError
from motoko.errors.workflows import (
    ActionFailed,
    AmbiguousField,
    ArchiveDamaged,
    ConditionError,
    ConfigError,
    ConflictsExhausted,
    ConstraintError,
    DatabaseClosed,
    DatabaseFailed,
    DatabaseLost,
    DatabaseUnavailable,
    EntryNotFound,
    EventNotFound,
    FailedRun,
    ForeignDatabase,
    InvalidTransition,
    JobNotFound,
    JobSideError,
    LaunchError,
    MarkerUnsafe,
    MarkerUnset,
    Mistake,
    NoRunMatches,
    NoSpaceLeft,
    OrchestratorNotLoadable,
    ParametersChanged,
    PhaseFailed,
    ReservedOption,
    RestoreUnfinished,
    RunNameMissing,
    RunNameNotFound,
    RunNotFound,
    RunsFailed,
    SchedulerOutputError,
    SchemaChanged,
    SchemaError,
    SessionConflict,
    StudyError,
    StudyExists,
    StudyNotFound,
    SubmissionFailed,
    TasksRenumbered,
    UnknownField,
    UnknownGenerator,
    UnknownTaskManager,
    WorkflowError,
)

__all__ = [
    "ArchiveDamaged",
    "ActionFailed",
    "AlreadyRunning",
    "AmbiguousField",
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
    "FailedRun",
    "ForeignDatabase",
    "ForeignOwner",
    "InvalidTransition",
    "JobNotFound",
    "JobSideError",
    "LaunchError",
    "ManifestUnreadable",
    "MarkerUnsafe",
    "MarkerUnset",
    "Mistake",
    "MotokoError",
    "MovedOrCopied",
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
    "RunNameMissing",
    "RunNameNotFound",
    "RunNotFound",
    "RunsExecuting",
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
    "TasksRenumbered",
    "UnknownArchive",
    "UnknownField",
    "UnknownGenerator",
    "UnknownStep",
    "UnknownTaskManager",
    "WorkerNotLoadable",
    "WorkflowError",
    "WorkflowMoved",
]

# Tracebacks, and whoever pickles an error, say where users have it from.
for _name in __all__:
    globals()[_name].__module__ = __name__
