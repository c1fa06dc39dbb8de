"""The jobs for the files of a directory, and workers by name."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from motoko.batch.books import beside, journal_of
from motoko.batch.doing import PARTIAL
from motoko.batch.models import BatchJob
from motoko.batch.underway import is_of_batches
from motoko.errors import BatchMistake, WorkerNotLoadable
from motoko.phrases import nearest

#: In the directory of outputs, if nobody says where.
MANIFEST = "manifest.json"


def find_jobs(
    input_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    pattern: str,
    suffix: str | None = None,
    *,
    manifest_path: str | os.PathLike[str] | None = None,
) -> list[BatchJob]:
    """A job for each file below ``input_dir`` that the pattern matches, sorted.

    Its id is the path from ``input_dir`` on, and its output has this path below ``output_dir``,
    with another suffix if one is given. What a batch into the same place has made is no input:
    what lies below an ``output_dir`` that is inside, outputs of other files, what is half done,
    and what is written down of it beside ``manifest_path`` (``manifest.json`` in
    ``output_dir``).
    BatchMistake when nothing matches, when an output would be its own input, or for a name that
    is not UTF-8, which no manifest can have.
    """
    top, target = Path(input_dir), Path(output_dir)
    if not top.is_dir():
        raise BatchMistake(f"{top}: is no directory")
    try:
        files = sorted(path for path in top.glob(pattern) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise BatchMistake(f"pattern {pattern!r}: {error}") from None
    if top.absolute() in target.absolute().parents:
        files = [file for file in files if target.absolute() not in file.absolute().parents]
    outputs = {file: _output(file, top, target, suffix) for file in files}
    made = {o.absolute() for f, o in outputs.items() if o.absolute() != f.absolute()}
    manifest = Path(manifest_path or target / MANIFEST).absolute()
    made |= {manifest, journal_of(manifest)}
    files = [f for f in files if beside(manifest) not in f.absolute().parents]
    files = [f for f in files if f.absolute() not in made and not f.name.endswith(PARTIAL)]
    files = [
        f for f in files if not is_of_batches(f) or f.parent.absolute() != target.absolute()
    ]
    if not files:
        raise BatchMistake(f"{top}: no file matches {pattern!r}")
    jobs = []
    for file in files:
        name, output = file.relative_to(top), outputs[file]
        if output.absolute() == file.absolute():
            raise BatchMistake(f"{file}: the output would be the input; name another directory")
        try:
            os.fspath(file).encode()
        except UnicodeEncodeError:
            why = "its name is not UTF-8, and cannot be written down; rename it"
            raise BatchMistake(f"{os.fsencode(file)!r}: {why}") from None
        jobs.append(BatchJob(id=name.as_posix(), motion=file, output=output, name=name.stem))
    return jobs


def _output(file: Path, top: Path, target: Path, suffix: str | None) -> Path:
    name = file.relative_to(top)
    return target / (name if suffix is None else name.with_suffix(suffix))


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
