"""The types of the keys of both files: what each accepts, and how an editor is told so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from motoko.config.policy import read_policy
from motoko.config.sections import Read
from motoko.config.values import EXPECTED, UNSET, Refused
from motoko.config.walltime import parse_walltime

NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"
NAME_EXPECTED = "a name of letters, digits, _ and -, not beginning with -"
IDENTIFIER = "letters, digits and _, not beginning with a digit"
OPTIONS_SUFFIX = "_options"
#: Those that there are; `motoko.launch.generator` has them.
GENERATORS = ("bash", "dask", "pbs", "sge", "slurm")


#: No count of cores or runs is larger: a slip of the finger is found here, and not later.
_MOST = 1_000_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_THREADS = re.compile(r"\s*[1-9][0-9]*\s*(,\s*[1-9][0-9]*\s*)*")
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)?\s*([kmgtp]?(i?b|w)?)")


def is_name(value: Any) -> bool:
    """Whether this may name a study: a directory's name without any path in it."""
    return isinstance(value, str) and re.fullmatch(NAME_PATTERN[1:-1], value) is not None


def _name(value: Any) -> str:
    if not is_name(value):
        raise Refused(NAME_EXPECTED)
    return str(value)


def _text(value: Any, at: tuple[int, ...] = ()) -> str:
    found = value if at else UNSET
    if not isinstance(value, str) or not value.strip():
        raise Refused("text", found, at)
    if _CONTROL.search(value):
        raise Refused("text without control characters", found, at)
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise Refused("text or a list of texts")
    return tuple(_text(item, (i,)) for i, item in enumerate(value))


def texts(value: Any) -> tuple[str, ...]:
    """A text, a list of texts or nothing, as a tuple; raises ``Refused``."""
    return () if value is None else _texts(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Refused("a whole number, 1 at least")
    if value > _MOST:
        raise Refused(f"a whole number, {_MOST} at most")
    return value


def _threads(value: Any) -> str | int:
    if isinstance(value, str) and _THREADS.fullmatch(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise Refused("a whole number, 1 at least, or a list of them like '4,2'")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused(EXPECTED["bool"])
    return value


def _amount(value: Any) -> str | int:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise Refused("a whole number, or text with a unit")


def _memory(value: Any) -> str | float:
    if isinstance(value, str) and _MEMORY.fullmatch(value.strip().lower()):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return value
    raise Refused("an amount of memory: a whole number, or one with a unit, like 500M or 4GB")


def _orchestrator(value: Any) -> str:
    if isinstance(value, str):
        parts = value.split(".")
        if len(parts) == 2 and all(part.isidentifier() for part in parts):
            return value
    raise Refused("module.function, as in orchestrator.main")


def _host(value: Any) -> str:
    if isinstance(value, str) and is_host(value):
        return value
    raise Refused("zeo:///directory or zeo://name:port")


def _tcp_host(value: Any) -> str:
    if isinstance(value, str) and is_host(value) and is_tcp(value):
        return value
    raise Refused("zeo://name:port")


def is_tcp(host: str) -> bool:
    """Whether a place of databases is reached over the network."""
    return not host.startswith("zeo:///")


def is_host(text: str) -> bool:
    """Whether this says where a database is served."""
    if _CONTROL.search(text) or any(c.isspace() for c in text):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme != "zeo" or parts.query or parts.fragment or parts.username is not None:
        return False
    if not parts.netloc:
        return len(parts.path) > 1 and text.startswith("zeo:///")
    return bool(parts.hostname) and bool(port) and parts.path in ("", "/")


def _generator(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][\w.-]*", value):
        raise Refused(f"the name of a generator, like {', '.join(GENERATORS)}")
    name = value.lower()
    return name.removesuffix("coat") or name


def mapping_of(what: str) -> Callable[[Any], Mapping[Any, Any]]:
    """A validator for a section of a file; an empty one is an empty mapping."""

    def section(value: Any) -> Mapping[Any, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise Refused(f"a mapping of {what}")
        return value

    return section


_LIST_OF_TEXT = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def _artifacts(value: Any) -> dict[str, str]:
    found = {}
    for name, pattern in mapping_of("names to patterns of files")(value).items():
        if not is_name(name):
            raise Refused(f"names of artifacts: {NAME_EXPECTED}", name, (name,))
        parts = PurePosixPath(pattern).parts if isinstance(pattern, str) else ()
        if not parts or parts[0] == "/" or ".." in parts or _CONTROL.search(pattern):
            raise Refused("a pattern of paths inside the run directory", pattern, (name,))
        found[name] = pattern
    return found


Artifacts = Annotated[
    dict[str, str],
    Read(
        _artifacts,
        {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
    ),
]
Name = Annotated[
    str,
    Read(_name, {"type": "string", "pattern": NAME_PATTERN}),
]
Text = Annotated[str, Read(_text, {"type": "string", "minLength": 1})]
Texts = Annotated[tuple[str, ...], Read(_texts, _LIST_OF_TEXT)]
Count = Annotated[
    int,
    Read(_count, {"type": "integer", "minimum": 1, "maximum": _MOST}),
]
Memory = Annotated[str | float, Read(_memory, {"type": ["string", "number"]})]
Flag = Annotated[bool, Read(_flag, {"type": "boolean"})]
Amount = Annotated[str | int, Read(_amount, {"type": ["string", "integer"]})]
Seconds = Annotated[float, Read(parse_walltime, {"type": ["string", "number"]})]
Orchestrator = Annotated[
    str,
    Read(_orchestrator, {"type": "string", "pattern": r"^[A-Za-z_]\w*\.[A-Za-z_]\w*$"}),
]
Host = Annotated[
    str,
    Read(_host, {"type": "string", "pattern": r"^zeo://(/.+|[^/\s]+:[0-9]+/?)$"}),
]
TcpHost = Annotated[
    str,
    Read(_tcp_host, {"type": "string", "pattern": r"^zeo://[^/\s]+:[0-9]+/?$"}),
]
Generator = Annotated[
    str,
    Read(_generator, {"type": "string", "examples": list(GENERATORS)}),
]

#: Entries of runs that mean something to the launcher, and what each may be, unless a study
#: declares it as something of its own.
RUN_LIMITS: Mapping[str, Callable[[Any], Any]] = {
    "nproc": _count,
    "omp_num_threads": _threads,
    "walltime": parse_walltime,
    "mem": _memory,
    "gpus": _amount,
    "on_failure": read_policy,
}
