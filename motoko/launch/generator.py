"""What a generator is: the way runs are executed on one kind of system.

A generator answers small questions and keeps no runs; the loop around it is the launcher's.
A *local* one starts a process itself and hands back how to follow it; one of a batch system
(`motoko.launch.batch_generator`) says what to ask that. Generators do not know
each other and are loaded by name, so that naming one costs only that one's imports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, Protocol

from motoko.errors import UnknownGenerator
from motoko.job.shell import Forewarning

#: Existing workflows name their generators also with this at the end.
_OLD_SUFFIX = "Coat"
_GENERATORS: Mapping[str, tuple[str, str]] = {
    "bash": ("motoko.launch.bash", "Bash"),
    "dask": ("motoko.launch.dask", "Dask"),
    "pbs": ("motoko.launch.pbs", "Pbs"),
    "sge": ("motoko.launch.sge", "GridEngine"),
    "slurm": ("motoko.launch.slurm", "Slurm"),
}
#: Where other packages name theirs: ``[project.entry-points."motoko.generators"]``.
ENTRY_POINTS = "motoko.generators"


@dataclass(frozen=True)
class Start:
    """Everything that a local generator needs to execute one attempt.

    ``token_fd`` is inheritable and holds the lock; it stays the caller's to close.
    """

    run_dir: str
    exec_file: str
    attempt: int
    nonce: str
    token_fd: int
    output_file: str
    error_file: str
    environment: Mapping[str, str]
    warning: Forewarning | None = None


class LocalProcess(Protocol):
    """A process of an attempt, followed by the loop that started or found it."""

    pid: int

    def follow(self, on_exit: Callable[[int | None], None]) -> None:
        """Call back from the running loop, once, when it has ended; with its exit code
        (negative for a signal), or None when only its end is known."""

    def ask_to_end(self) -> None:
        """Ask it and all it started to end; `insist` is to follow."""

    def insist(self) -> None:
        """End what it started and is still there, and itself."""

    def leave(self) -> None:
        """Stop following it; it goes on."""


class Generator(ABC):
    """How runs are executed on one kind of system."""

    name: ClassVar[str]

    def __init__(self, options: Sequence[str] = ()) -> None:
        """``options`` are those of the configuration, ``<name>_options``."""
        self.options = tuple(options)

    @abstractmethod
    def required_commands(self) -> Sequence[str]:
        """Programs that must be on the PATH."""

    def problem(self) -> str | None:
        """Why it cannot execute anything with its options, if that can be told by trying."""
        return None


class LocalGenerator(Generator):
    """Executes runs as processes on this host."""

    @abstractmethod
    def start(self, start: Start) -> LocalProcess:
        """Start the process; OSError when the system refuses."""

    @abstractmethod
    def find(self, pid: int) -> LocalProcess | None:
        """A process that another launcher started; None when it is gone."""


def generator_names() -> list[str]:
    """The names that `find_generator` knows."""
    from importlib.metadata import entry_points

    return sorted({*_GENERATORS, *entry_points(group=ENTRY_POINTS).names})


def plain_name(name: str) -> str:
    """The name as options have it: without the suffix that existing workflows give it."""
    return name if name in _GENERATORS else name.removesuffix(_OLD_SUFFIX) or name


def find_generator(name: str, options: Sequence[str] = ()) -> Generator:
    """The generator of this name, also spelled ``<name>Coat``.

    UnknownGenerator; ReservedOption for an option that is Motoko's own.
    """
    known = plain_name(name)
    if known in _GENERATORS:
        module, kind = _GENERATORS[known]
        generator: Generator = getattr(import_module(module), kind)(options)
        return generator
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS, name=known):
        found: Generator = entry.load()(options)
        return found
    raise UnknownGenerator(name, generator_names())
