"""Pipelines that are ready to be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from motoko.errors import UnknownStep
from motoko.pipeline.steps import Pipeline, Step

_MOLECULAR_DYNAMICS: Final = (
    "system_prep",
    "param_ligands",
    "prepare_equil",
    "equil",
    "equil_analysis",
    "prepare_fe",
    "fe",
    "analysis",
)
_SHORT: Final = _MOLECULAR_DYNAMICS[: _MOLECULAR_DYNAMICS.index("equil_analysis") + 1]


def molecular_dynamics(
    *, short: bool = False, payloads: Mapping[str, Any] | None = None
) -> Pipeline:
    """From the preparation of a system to free energies, one step after the other.

    The short form stops after the analysis of the equilibration. ``payloads`` are those of
    steps, by name; UnknownStep for one that there is not.
    """
    names = _SHORT if short else _MOLECULAR_DYNAMICS
    given = dict(payloads or {})
    for name in given:
        if name not in names:
            raise UnknownStep(name, names)
    return Pipeline(
        Step(name, requires=names[max(i - 1, 0) : i], payload=given.get(name))
        for i, name in enumerate(names)
    )


#: By the names that ``motoko.yaml`` and the command line have for them.
READY: Final[Mapping[str, Callable[[], Pipeline]]] = {
    "molecular-dynamics": molecular_dynamics,
    "molecular-dynamics-short": lambda: molecular_dynamics(short=True),
}
