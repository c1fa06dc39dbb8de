"""What a step gives to the runs of a system: job values and run parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from motoko.config.values import dimension
from motoko.errors import StepNotRunnable
from motoko.phrases import listed, nearest
from motoko.pipeline import Step
from motoko.systems import SimSystem

#: The job value by which runs of one system are told from those of another.
SYSTEM = "system"
_KEYS = ("job", "run")
_PLACEHOLDER = re.compile(r"\{system((?:\.[\w-]+)+)\}")
_ATTRIBUTES = ("name", "root", "topology", "coordinates", "protein")
_MAPPINGS = ("meta", "artifacts")


class Payload(NamedTuple):
    """Job values, a list being a dimension, and parameters of runs."""

    job: Mapping[str, Any]
    run: Mapping[str, Any]


def parsed(step: Step) -> Payload:
    """The payload of a step that a study does. StepNotRunnable for anything else."""
    given = {} if step.payload is None else step.payload
    if not isinstance(given, Mapping):
        found = f"its payload is {type(given).__name__}"
        raise StepNotRunnable(step.name, f"{found}; write {{'job': {{...}}, 'run': {{...}}}}")
    for key in given:
        if key not in _KEYS:
            meant = nearest(str(key), _KEYS) or "; job values go into 'job'"
            raise StepNotRunnable(step.name, f"its payload has the key {key!r}{meant}")
    parts = []
    for key in _KEYS:
        part = given.get(key) or {}
        if not isinstance(part, Mapping):
            found = f"{key!r} of its payload is {type(part).__name__}"
            raise StepNotRunnable(step.name, f"{found}; write names and values")
        parts.append(part)
    return Payload(*parts)


def filled(payload: Payload, step: Step, system: SimSystem | None) -> Payload:
    """The same for one system: ``{system.name}``, ``{system.meta.ligand}`` and the like in
    texts are replaced. A text that is nothing else becomes the value itself."""

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            alone = _PLACEHOLDER.fullmatch(value)
            if alone:
                return _looked_up(alone, step, system)
            return filled_text(value, step, system)
        if isinstance(value, Mapping):
            return {key: fill(item) for key, item in value.items()}
        return [fill(item) for item in value] if isinstance(value, list | tuple) else value

    return Payload(fill(payload.job), fill(payload.run))


def empty_dimensions(space: Mapping[str, Any], types: Mapping[str, str]) -> list[str]:
    """The names of the dimensions that have no value: there would be no run at all."""
    found = {name: dimension(types.get(name, ""), value) for name, value in space.items()}
    return [name for name, points in found.items() if points is not None and not points]


def filled_text(text: str, step: Step, system: SimSystem | None) -> str:
    """A text of a step with the facts of a system in it."""
    return _PLACEHOLDER.sub(lambda m: str(_looked_up(m, step, system)), text)


def _looked_up(found: re.Match[str], step: Step, system: SimSystem | None) -> Any:
    text, (name, *rest) = found[0], found[1].removeprefix(".").split(".")
    if system is None:
        raise StepNotRunnable(step.name, f"it has {text}, and there are no systems")
    if name in _ATTRIBUTES and not rest:
        value = getattr(system, name)
    elif name in _MAPPINGS and len(rest) == 1:
        value = getattr(system, name).get(rest[0])
    else:
        known = [*_ATTRIBUTES, *(f"{mapping}.NAME" for mapping in _MAPPINGS)]
        why = f"it has {text}; a system has {listed(known)}"
        raise StepNotRunnable(step.name, why)
    if value is None:
        why = f"it has {text}, which system {system.name!r} does not have"
        raise StepNotRunnable(step.name, why)
    return str(value) if isinstance(value, Path) else value
