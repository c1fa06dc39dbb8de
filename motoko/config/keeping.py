"""What was found of a file that has no mistakes, kept for whoever reads the same file later.

It lies beside the database that Motoko has there, if there is one, and holds for the same
bytes, read by the same code: anything else that is there is as good as nothing. What cannot be
kept or read back is no error, since the file itself is still there to be checked.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path, PosixPath
from typing import Any, Final, TypeVar

from motoko.config.checkpoint import CheckpointSignal
from motoko.config.models import (
    FieldConfig,
    FileConfig,
    StudyConfig,
    TaskManagerConfig,
    WorkflowConfig,
)
from motoko.config.pipelines import PipelineConfig, StepConfig, SystemsConfig
from motoko.config.policy import FailurePolicy
from motoko.config.retry import Retry
from motoko.config.sentinels import SentinelsConfig
from motoko.config.values import Unset
from motoko.errors import Mistake
from motoko.paths import (
    STUDY_DATABASE,
    STUDY_STATE,
    WORKFLOW_DATABASE,
    WORKFLOW_STATE,
    is_study_alone,
)

Config = TypeVar("Config", bound=FileConfig)

#: What is read back is made of these, and of what Python has built in; nothing else is called.
_KINDS: Final[dict[tuple[str, str], type]] = {
    (kind.__module__, kind.__qualname__): kind
    for kind in (
        CheckpointSignal,
        FailurePolicy,
        FieldConfig,
        Mistake,
        PipelineConfig,
        PosixPath,
        Retry,
        SentinelsConfig,
        StepConfig,
        StudyConfig,
        SystemsConfig,
        TaskManagerConfig,
        Unset,
        WorkflowConfig,
    )
}
#: What decides on what is found, beside the modules of this package.
_MODULES: Final = ("columns.py", "paths.py", "phrases.py")
_PACKAGES: Final = (("pydantic", "version.py"), ("yaml", "__init__.py"))
_DIGEST_SIZE: Final = 32


def keep(config: FileConfig) -> None:
    """Keep what a file without mistakes says, where that is possible and not done yet."""
    if config._content is None:
        return
    file = _kept_file(type(config), config.file)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        if not file.with_name(_database(type(config))).exists():
            return  # another program's directory has the same name
        kept = _mark(type(config), config.file, config._content) + pickle.dumps(config)
        try:
            aside.write_bytes(_digest([kept]) + kept)
            aside.replace(file)
            vars(config)["_content"] = None
        except OSError:
            aside.unlink(missing_ok=True)
    except (OSError, RecursionError):
        pass


def recalled(kind: type[Config], file: Path) -> Config | None:
    """What was kept of a file that stands there unchanged; None if it is to be checked."""
    try:
        with _kept_file(kind, file).open("rb") as opened:
            if os.fstat(opened.fileno()).st_uid != os.getuid():
                return None
            told = opened.read()
        kept = memoryview(told)[_DIGEST_SIZE:]
        mark = _mark(kind, file, file.read_bytes())
        if told[:_DIGEST_SIZE] != _digest([kept]) or kept[:_DIGEST_SIZE] != mark:
            return None
        config = _Reader(io.BytesIO(kept[_DIGEST_SIZE:])).load()
    except (OSError, pickle.UnpicklingError):
        return None
    if not isinstance(config, kind):
        return None
    vars(config)["_content"] = None
    return config.named(file)


class _Reader(pickle.Unpickler):
    """Makes configurations, and no other things that a pickle may name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KINDS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a file") from None


def _kept_file(kind: type[FileConfig], file: Path) -> Path:
    state = STUDY_STATE if issubclass(kind, StudyConfig) else WORKFLOW_STATE
    return file.parent / state / f"{file.name}.read"


def _database(kind: type[FileConfig]) -> str:
    return STUDY_DATABASE if issubclass(kind, StudyConfig) else WORKFLOW_DATABASE


def _mark(kind: type[FileConfig], file: Path, content: bytes) -> bytes:
    """What differs whenever something else might be found of the file."""
    is_alone = issubclass(kind, StudyConfig) and is_study_alone(file.absolute().parent)
    return _digest([_code(), f"{kind.__name__} {is_alone}".encode(), content])


@cache
def _code() -> bytes:
    """What differs whenever the code that reads files does. Raises OSError."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), *(here.with_name(name) for name in _MODULES)]
    for package, name in _PACKAGES:
        found = find_spec(package)
        if found is None or found.origin is None:
            raise FileNotFoundError(package)
        files.append(Path(found.origin).with_name(name))
    return _digest([sys.version.encode(), *(file.read_bytes() for file in files)])


def _digest(parts: Iterable[bytes | memoryview]) -> bytes:
    digest = blake2b(digest_size=_DIGEST_SIZE)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
