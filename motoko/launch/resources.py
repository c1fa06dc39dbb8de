"""What a run needs, by names that mean the same on every batch system."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from motoko.config.fields import texts

if TYPE_CHECKING:
    from motoko.config import StudyConfig

_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(i?b|w)?", re.IGNORECASE)
_EXPONENTS = {"": 2, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_MODULE = re.compile(r"[\w.+:@/-]+")


class Resources(NamedTuple):
    """What one run asks for; None where it leaves that to the batch system."""

    nproc: int = 1
    mem_mb: int | None = None
    walltime_s: int | None = None
    gpus: str | None = None
    account: str | None = None
    partition: str | None = None
    modules: tuple[str, ...] = ()

    @property
    def clock(self) -> str:
        """The walltime as hours, minutes and seconds."""
        seconds = self.walltime_s or 0
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def resources_of(
    config: StudyConfig, row: Mapping[str, Any], walltime_s: float | None
) -> Resources:
    """What a run asks for: its own entries stand above those of its study.

    ValueError for a value that cannot be one.
    """

    def given(name: str) -> Any:
        own = row.get(name)
        return getattr(config, name, None) if own is None else own

    mem, gpus = given("mem"), given("gpus")
    own_modules = row.get("modules", row.get("module"))
    modules = texts(own_modules) if own_modules else (*config.module, *config.modules)
    for module in modules:
        if not _MODULE.fullmatch(module):
            raise ValueError(f"modules: {module!r} is no name of a module")
    return Resources(
        nproc=int(row.get("nproc") or 1),
        mem_mb=None if mem is None else megabytes(mem),
        walltime_s=None if walltime_s is None else max(1, math.ceil(walltime_s)),
        gpus=None if gpus is None else _one_line("gpus", gpus),
        account=None if given("account") is None else _one_line("account", given("account")),
        partition=None
        if given("partition") is None
        else _one_line("partition", given("partition")),
        modules=modules,
    )


def megabytes(amount: Any) -> int:
    """An amount of memory; a bare number counts megabytes, as Slurm has it."""
    found = _MEMORY.fullmatch(str(amount).strip())
    if found is None:
        raise ValueError(f"mem: {amount!r} is no amount of memory")
    exponent = _EXPONENTS[found[2].lower()]
    if not found[2] and found[3]:
        exponent = 0
    return max(1, math.ceil(float(found[1]) * 1024.0 ** (exponent - 2)))


def _one_line(name: str, value: Any) -> str:
    text = str(value).strip()
    if not text or not text.isprintable() or any(c in text for c in " '\"\\"):
        raise ValueError(f"{name}: {value!r} has blanks, quotes or control characters")
    return text
