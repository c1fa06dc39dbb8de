"""Whether a run name that is taken up again computes what it was begun for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from motoko.errors import ParametersChanged
from motoko.store.codec import decode, encode, is_same

if TYPE_CHECKING:
    from motoko.study.study import Study
    from motoko.workflow.workflow import Workflow

#: The fact of a run name that says what it was begun with.
PARAMETERS = "parameters"
#: So many lines tell of changes to who does not say how many fit.
MOST_SHOWN = 10
_OF_STUDY = ("job_space", "run_space", "run_params")
#: How the places of defaults end. One that is declared later fills in what is there, too.
_DEFAULT = " (default)"


def parameters(workflow: Workflow, params: Mapping[str, Any]) -> dict[str, Any]:
    """What decides on what is computed, each by its place: options of the orchestrator, the
    pipeline, and the values that studies give to their tasks, defaults included.

    What cannot be stored cannot be compared, and is left out.
    """
    found = dict(flat("options", params))
    pipeline = workflow.config.get("pipeline")
    if pipeline is not None:
        found.update(flat("pipeline", pipeline))
    for name, manager in workflow.task_managers.items():
        config = manager.base.config
        for section in _OF_STUDY:
            found.update(flat(f"{name}.{section}", config.get(section) or {}))
        found.update(_defaults(name, manager.base))
    return {key: kept for key, value in found.items() for kept in stored(value)}


def check(
    run_name: str,
    facts: Mapping[str, Any] | None,
    now: Mapping[str, Any],
    *,
    is_accepted: bool,
    most_shown: int = MOST_SHOWN,
) -> list[tuple[str, str, str]]:
    """What has changed since a run name, of which these ``facts`` are known, was begun: place,
    old and new value in words.

    ParametersChanged unless that ``is_accepted``.
    """
    before = (facts or {}).get(PARAMETERS)
    if before is None:
        return []
    changes = [
        (key, *_contrasted(_shown(before, key), _shown(now, key)))
        for key in sorted({*before, *now})
        if _is_changed(key, before, now)
    ]
    if changes and not is_accepted:
        raise ParametersChanged(run_name, changes, most_shown)
    return changes


def _is_changed(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if key in before and key in now:
        return not is_same(before[key], now[key])
    return not key.endswith(_DEFAULT)


def _defaults(name: str, study: Study) -> Iterator[tuple[str, Any]]:
    """Those of parameters and entries that the study gives no value; None where there is none,
    which tells those that get a default later from those that are declared later."""
    given = {name.lower() for section in _OF_STUDY for name in study.config.get(section) or {}}
    for section, fields in (("job", study.schema.job), ("run", study.schema.run)):
        for field in fields.values():
            if field.name.lower() not in given:
                default = field.default if field.has_default else None
                yield f"{name}.{section}.{field.name}{_DEFAULT}", default


def flat(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value as those that it is made of, each by its place."""
    if not isinstance(value, Mapping):
        yield place, value
        return
    for name, inner in value.items():
        yield from flat(f"{place}.{name}", inner)


def stored(value: Any) -> Iterator[Any]:
    """The value as it comes back from a database."""
    try:
        yield decode(encode(value))
    except (TypeError, ValueError, RecursionError):
        return


def _shown(values: Mapping[str, Any], key: str) -> str:
    is_there = key in values and (values[key] is not None or not key.endswith(_DEFAULT))
    return repr(values[key]) if is_there else "nothing"


#: A value is shown in so many characters, from shortly before where it is another one.
_WIDTH, _BEFORE = 36, 8


def _contrasted(old: str, new: str) -> tuple[str, str]:
    """Two different texts, both short enough for one line, and still different."""
    if max(len(old), len(new)) <= _WIDTH:
        return old, new
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
    start = max(0, (min(len(old), len(new)) if same is None else same) - _BEFORE)
    return _cut(old, start), _cut(new, start)


def _cut(text: str, start: int) -> str:
    begin = "..." if start else ""
    end = "..." if len(text) > start + _WIDTH else ""
    return f"{begin}{text[start : start + _WIDTH]}{end}"
