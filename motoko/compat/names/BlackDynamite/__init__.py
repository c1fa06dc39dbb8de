"""The names that scripts written for BlackDynamite import, answered by Motoko.

Found by scripts of runs and below ``motoko exec`` only; nothing of this name is installed.
``getRunFromScript`` needs the standard library alone, everything else Motoko's own Python.
"""

from motoko.job import get_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

    from motoko.job.entries import Job
    from motoko.job.record import Run

_HOMES = {
    "Base": "base",
    "RunSelector": "selectors",
    "JobSelector": "selectors",
    "BDParser": "parser",
    "RunParser": "parser",
}

__all__ = ["BDParser", "Base", "JobSelector", "RunParser", "RunSelector", "getRunFromScript"]


def getRunFromScript() -> "Tuple[Run, Job]":
    """The run that this script belongs to, and its job; JobSideError outside of a run."""
    return get_run()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        known = ", ".join(__all__)
        raise AttributeError(
            "module 'BlackDynamite' (Motoko's) has no attribute {!r}; it has {}".format(
                name, known
            )
        )
    from importlib import import_module

    try:
        home = import_module("motoko.compat.{}".format(_HOMES[name]))
    except ImportError as error:
        import sys

        raise ImportError(
            "BlackDynamite.{} needs the Python that Motoko is installed in, and {} lacks {};"
            " getRunFromScript() works everywhere".format(name, sys.executable, error.name)
        ) from error
    value: object = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> "List[str]":
    return sorted({*globals(), *__all__})
