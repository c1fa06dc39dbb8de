"""The jobs for the files of a directory, and workers by name."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from motoko.batch.models import BatchJob
from motoko.errors import BatchMistake, WorkerNotLoadable
from motoko.phrases import nearest


def find_jobs(
    input_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    pattern: str,
    suffix: str | None = None,
) -> list[BatchJob]:
    """A job for each file below ``input_dir`` that the pattern matches, sorted.

    Its id is the path from ``input_dir`` on, and its output has this path below ``output_dir``,
    with another suffix if one is given. BatchMistake when nothing matches, or when an output
    would be its own input.
    """
    top, target = Path(input_dir), Path(output_dir)
    if not top.is_dir():
        raise BatchMistake(f"{top}: is no directory")
    try:
        files = sorted(path for path in top.glob(pattern) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise BatchMistake(f"pattern {pattern!r}: {error}") from None
    if not files:
        raise BatchMistake(f"{top}: no file matches {pattern!r}")
    jobs = []
    for file in files:
        name = file.relative_to(top)
        output = target / (name if suffix is None else name.with_suffix(suffix))
        if output.absolute() == file.absolute():
            raise BatchMistake(f"{file}: the output would be the input; name another directory")
        jobs.append(BatchJob(id=name.as_posix(), motion=file, output=output, name=name.stem))
    return jobs


def load_worker(name: str) -> Any:
    """The function that ``module:function`` names. WorkerNotLoadable."""
    module_name, colon, function = name.partition(":")
    if not colon or not module_name or not function:
        raise WorkerNotLoadable(name, "expected module:function")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise WorkerNotLoadable(name, str(error)) from error
    found: Any = module
    for part in function.split("."):
        if not hasattr(found, part):
            known = [n for n in dir(found) if not n.startswith("_")]
            raise WorkerNotLoadable(name, f"it has no {part!r}{nearest(part, known)}")
        found = getattr(found, part)
    if not callable(found):
        raise WorkerNotLoadable(name, "it cannot be called")
    return found
