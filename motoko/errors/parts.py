"""Errors of what stands beside studies: pipelines, artifact stores, batches."""

from __future__ import annotations

from motoko.errors.root import MotokoError
from motoko.phrases import listed, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping, Optional, Sequence, Tuple


class PipelineError(MotokoError, ValueError):
    """Steps that make no pipeline, or a question about one that it cannot answer."""


class DuplicateStep(PipelineError):
    """Two steps of a pipeline have one name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"two steps are named {name!r}: each needs a name of its own", name=name
        )


class UnknownStep(PipelineError, KeyError):
    """A pipeline has no step of that name; ``step`` is the one that requires it, or None."""

    def __init__(self, name: str, known: Iterable[str], step: Optional[str] = None) -> None:
        known = tuple(known)
        what = "there is no step" if step is None else f"step {step!r} requires unknown step"
        message = f"{what} {name!r}{nearest(name, known)} (steps: {listed(known)})"
        super().__init__(message, name=name, known=known, step=step)


class CyclicSteps(PipelineError):
    """Steps that wait for each other; ``cycle`` names them, the first one at its end again."""

    cycle: Tuple[str, ...]

    def __init__(self, cycle: Sequence[str]) -> None:
        shown = " requires ".join(repr(name) for name in cycle)
        super().__init__(f"steps wait for each other: {shown}", cycle=tuple(cycle))


class StepWithoutHandler(PipelineError, LookupError):
    """Nothing does a step of a pipeline; ``task`` is the name that was looked for."""

    def __init__(self, step: str, task: str, meant: str = "") -> None:
        message = (
            f"nothing does step {step!r}: there is no task manager {task!r}{meant}; list it"
            " under `task_managers:`, name another one with task=... (`study:` in motoko.yaml),"
            f" or give a function: handlers={{{step!r}: function}} (`handler: module.function`)"
        )
        super().__init__(message, step=step, task=task)


class StepNotRunnable(PipelineError):
    """A step of a pipeline could not be done as it is written."""

    why: str

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"step {step!r}: {why}", step=step, why=why)


class ArtifactError(MotokoError):
    """An artifact store cannot do what it was asked for."""


class ArtifactExists(ArtifactError, KeyError):
    """An artifact of that name is stored already."""

    def __init__(self, root: str, name: str) -> None:
        message = f"{root}: artifact {name!r} is there already; remove it, or take another name"
        super().__init__(message, root=root, name=name)


class ArtifactNotFound(ArtifactError, KeyError):
    """No artifact of that name."""

    def __init__(self, root: str, name: str, known: Iterable[str]) -> None:
        known = tuple(known)
        message = f"{root}: no artifact {name!r}{nearest(name, known)}"
        super().__init__(message, root=root, name=name, known=known)


class ArtifactStoreNotFound(ArtifactError, LookupError):
    """No artifact store where one was looked for."""

    def __init__(self, root: str, manifest: str) -> None:
        message = f"{root}: no artifact store here, it would have a {manifest}"
        super().__init__(message, root=root, manifest=manifest)


class PathTaken(ArtifactError, FileExistsError):
    """Something lies where an artifact was to go, and is not that artifact."""

    def __init__(self, path: str, what: str) -> None:
        message = f"{path}: {what}; move it away, or give another dst_rel"
        super().__init__(message, path=path, what=what)


class PathOutside(ArtifactError, ValueError):
    """A path that leads, or may lead, out of where it has to stay."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}", path=path, why=why)


class UnknownArchive(ArtifactError, ValueError):
    """A name of an archive that does not say of which kind it is to be."""

    def __init__(self, file: str, known: Sequence[str]) -> None:
        message = f"{file}: is to be a tar file; let its name end in {', '.join(known)}"
        super().__init__(message, file=file, known=tuple(known))


class ArtifactsDamaged(ArtifactError, ValueError):
    """Artifacts are missing, or are not what was stored; ``names`` says which."""

    def __init__(self, root: str, problems: Sequence[Tuple[str, str]]) -> None:
        shown = [f"{name} is {what}" for name, what in problems[:10]]
        if len(problems) > 10:
            shown.append(f"and {len(problems) - 10} more")
        message = f"{root}: {'; '.join(shown)}; put back what was stored, or remove it"
        names = tuple(name for name, _ in problems)
        super().__init__(message, root=root, names=names, problems=tuple(problems))


class ArtifactsRefused(ArtifactError, RuntimeError):
    """What finished runs have left could not be stored; ``causes`` has the reason of each."""

    def __init__(self, root: str, causes: Mapping[str, str]) -> None:
        shown = [f"{run}: {why}" for run, why in list(causes.items())[:10]]
        if len(causes) > 10:
            shown.append(f"and {len(causes) - 10} more")
        message = f"{root}: {'; '.join(shown)}; `motoko run` of that run name tries again"
        super().__init__(message, root=root, causes=dict(causes))


class ManifestUnreadable(ArtifactError, ValueError):
    """The manifest of an artifact store is damaged, or of a newer format."""

    def __init__(self, file: str, why: str) -> None:
        super().__init__(f"{file}: {why}", file=file, why=why)


class StoreBusy(ArtifactError, TimeoutError):
    """Another process changes the store, and does not come to an end."""

    transient = True

    def __init__(self, root: str, wait_s: float) -> None:
        message = (
            f"{root}: another process has held the store for {wait_s:g} s; try again later"
        )
        super().__init__(message, root=root, wait_s=wait_s)


class BatchError(MotokoError):
    """A batch cannot do what it was asked for."""


class BatchMistake(BatchError, ValueError):
    """Jobs, or settings, that make no batch."""


class BatchUnreadable(BatchError, ValueError):
    """The manifest of a batch is damaged, or of a newer format."""

    def __init__(self, file: str, why: str) -> None:
        super().__init__(f"{file}: {why}", file=file, why=why)


class BatchRunning(BatchError, RuntimeError):
    """Another process works on a batch with this manifest, or runs of a study do."""

    def __init__(self, file: str, workflow_dir: str | None = None) -> None:
        message = f"{file}: another process works on this batch; wait for it, or end it first"
        if workflow_dir is not None:
            message = (
                f"{file}: its jobs are runs of the workflow in {workflow_dir}, which may go on:"
                " take them over with the executor 'motoko' and that workflow"
            )
        super().__init__(message, file=file, workflow_dir=workflow_dir)


class WorkerNotLoadable(BatchError, ImportError):
    """The worker of a batch cannot be had from where it was said to be."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"cannot load worker {name!r}: {why}", why=why)
        self.name = name
