"""What a single key cannot tell: whether the parts of a file fit each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from motoko.columns import BUILT_IN, NOTED, RUN_ENTRIES, is_motokos
from motoko.config.document import Document, KeyPath
from motoko.config.fields import (
    GENERATORS,
    IDENTIFIER,
    NAME_EXPECTED,
    OPTIONS_SUFFIX,
    RUN_LIMITS,
    is_name,
    texts,
)
from motoko.config.models import (
    WITHOUT_EFFECT,
    WITHOUT_EFFECT_IN_STUDY,
    FieldConfig,
    StudyConfig,
    TaskManagerConfig,
    WorkflowConfig,
    is_options_key,
)
from motoko.config.pipelines import unknown_key
from motoko.config.values import (
    IDENTIFYING,
    JOB_CONVERTERS,
    RUN_CONVERTERS,
    TYPES,
    Refused,
    dimension,
    plain,
    shown,
    worked_out,
)
from motoko.errors import Mistake
from motoko.paths import is_study_alone
from motoko.phrases import closest, listed, nearest

#: Attributes of a workflow, which no alias may hide.
WORKFLOW_ATTRIBUTES = frozenset(
    {
        "all_mistakes",
        "close",
        "databases",
        "mistakes",
        "unread",
        "hurry",
        "connect",
        "is_orchestrated",
        "say_end",
        "exit_text",
        "initialise",
        "is_stalled",
        "stall",
        "load_study",
        "on_change",
        "recover",
        "register",
        "run_pipeline",
        "tell_of_change",
        "has_decided",
        "takes_over",
        "accepts_changes",
        "asked_steps",
        "artifact_deposits",
        "office",
        "custody",
        "state_dir",
        "task_manager",
        "task_manager_config",
        "wait_s",
        "vars",
        "directory",
        "config",
        "config_path",
        "params",
        "run_name",
        "actions",
        "artifacts",
        "aliases",
        "task_managers",
        "finished",
        "create",
        "execute",
        "run",
        "session",
        "add_action",
        "add_error_handler",
        "get_runs",
        "is_empty",
        "check_event",
        "check_events",
        "fire_event",
        "loop_check_events",
        "n_noticed",
        "get_orchestrator_function",
        "start_launcher_daemons",
        "orchestrator_script",
        "orchestrator_function",
        "is_run_filter",
        "is_workflow_filter",
        "is_no_param_func",
        "started_early",
    }
)

#: Attributes of a job and of a run, here and in scripts, which hide entries of these names.
JOB_ATTRIBUTES = frozenset({"entries", "get", "id", "items", "keys", "study", "types"})
RUN_ATTRIBUTES = JOB_ATTRIBUTES | {
    "attempts",
    "directory",
    "fail",
    "file",
    "finish",
    "get_last_step",
    "get_quantities",
    "get_quantity",
    "job",
    "last_attempt",
    "last_quantities",
    "list_files",
    "list_quantities",
    "push_quantity",
    "start",
    "update",
    "update_entries",
}

_ARGUMENTS = ("self", "run_params", "commit")
_MISSING = {
    ("study",): NAME_EXPECTED,
    ("job",): "a mapping of parameter names to types",
    ("task_managers",): "a mapping of study directories",
    ("orchestrator",): "module.function, as in orchestrator.main",
}


def translated(
    document: Document, error: ValidationError, known: tuple[str, ...]
) -> Iterator[Mistake]:
    """The mistakes that the models found; ``known`` are the keys of the file."""
    for problem in error.errors(include_url=False):
        path: KeyPath = problem["loc"]
        cause = problem.get("ctx", {}).get("error")
        if path and path[-1] == "[key]":
            continue  # the checks below say it with the name
        if problem["type"] == "missing":
            expected = f"expected {_MISSING.get(path, 'a value')}"
            others = [k for k in document.data if isinstance(k, str) and k not in known]
            spelled = closest(str(path[-1]), others) if len(path) == 1 else None
            if spelled is None:
                yield document.mistake(path, "missing", expected)
            else:
                found = f"missing; is it {spelled!r} that should be {path[-1]!r}?"
                line = document.line((spelled,))
                yield document.mistake(path, found, expected, line)
        elif isinstance(cause, Refused):
            value = cause.value if cause.at else problem["input"]
            found = "missing" if cause.at and value is None else f"found {shown(value)}"
            yield document.mistake((*path, *cause.at), found, f"expected {cause.expected}")
        elif problem["type"] == "unexpected_keyword_argument":
            yield document.mistake(path, "unknown key", unknown_key(path))
        else:
            allowed = problem.get("ctx", {}).get("expected") or problem["msg"]
            found = f"found {shown(problem['input'])}"
            yield document.mistake(path, found, f"expected {allowed}")


def workflow_mistakes(document: Document) -> Iterator[Mistake]:
    """Names and aliases of a workflow that cannot be, options of the wrong form."""
    managers, aliases = document.section("task_managers"), document.section("aliases")
    yield from _odd_keys(document, (), document.data)
    for name in managers:
        if isinstance(name, bool):
            yield _read_as_bool(document, ("task_managers",), name)
        elif not is_name(name):
            found = f"found the name {_quoted(name)}"
            yield document.mistake(("task_managers", name), found, f"expected {NAME_EXPECTED}")
    for alias, target in aliases.items():
        path = ("aliases", alias)
        if not isinstance(alias, str) or not _is_attribute(alias):
            found = f"found the name {_quoted(alias)}"
            yield document.mistake(path, found, "expected a name that Python can write")
        elif alias in managers:
            yield document.mistake(path, "is a task manager too", "expected another name")
        elif alias in WORKFLOW_ATTRIBUTES:
            found = "is an attribute of every workflow"
            yield document.mistake(path, found, "expected another name")
        are_known = isinstance(document.data.get("task_managers", {}), Mapping)
        if isinstance(target, str) and are_known and target not in managers:
            known = [str(name) for name in managers]
            found = f"found {target!r}, which is no task manager{nearest(target, known)}"
            yield document.mistake(path, found, f"expected one of: {listed(known)}")
    yield from _options_mistakes(document)


def study_mistakes(document: Document) -> Iterator[Mistake]:
    """Names that cannot be or do not fit, values of another type than the declared one."""
    yield from _odd_keys(document, (), document.data)
    for section, taken in (("job", {*RUN_ENTRIES, "id"}), ("run", BUILT_IN | NOTED)):
        for name in document.section(section):
            path = (section, name)
            if isinstance(name, bool):
                yield _read_as_bool(document, (section,), name)
            elif not isinstance(name, str) or not name.isidentifier():
                found = f"found the name {_quoted(name)}"
                yield document.mistake(path, found, f"expected {IDENTIFIER}")
            elif section == "job" and name.lower() in _ARGUMENTS:
                found = "is an argument of createTask"
                yield document.mistake(path, found, "expected another name")
            elif name.lower() in taken:
                allowed = "expected another name"
                if section == "run":
                    allowed = "leave it out, or choose another name"
                yield document.mistake(path, "is the name of a built-in entry", allowed)
    for section in ("job", "run", "job_space", "run_space", "run_params"):
        yield from _clashing_names(document, section)
    yield from _space_mistakes(document)
    yield from _run_mistakes(document)
    yield from _options_mistakes(document)


def _space_mistakes(document: Document) -> Iterator[Mistake]:
    known = {
        str(name): _declared_type(field) for name, field in document.section("job").items()
    }
    types = {name.lower(): kind for name, kind in known.items()}
    for name, value in document.section("job_space").items():
        path = ("job_space", name)
        if str(name).lower() not in types:
            found = f"no parameter of that name{nearest(str(name), known)}"
            yield document.mistake(path, found, f"expected one of job: {listed(known)}")
            continue
        kind = types[str(name).lower()]
        if kind is not None:
            try:
                value = worked_out(kind, value)
            except Refused as refused:
                found = f"found {shown(value)}"
                yield document.mistake(path, found, f"expected {refused.expected}")
                continue
            points = dimension(kind, value)
            yield from _value_mistakes(
                document, path, kind, value, points, JOB_CONVERTERS[kind]
            )


def _run_mistakes(document: Document) -> Iterator[Mistake]:
    declared = {
        str(name).lower(): _declared_type(field)
        for name, field in document.section("run").items()
    }
    for section in ("run_space", "run_params"):
        for name, value in document.section(section).items():
            key = str(name).lower()
            kind = RUN_ENTRIES.get(key) or declared.get(key)
            points = dimension(kind or "", value) if section == "run_space" else None
            path = (section, name)
            if key == "state" or any(is_motokos(key, one) for one in points or [value]):
                yield document.mistake(path, "is kept by Motoko itself", "choose another name")
            elif isinstance(name, str) and not name.isidentifier():
                found = f"found the name {_quoted(name)}"
                yield document.mistake(path, found, f"expected {IDENTIFIER}")
            elif points and len(points) > 1 and key not in declared and key not in IDENTIFYING:
                found = f"{len(points)} values, and an undeclared entry tells no runs apart"
                allowed = "declare it under run:, or give one value"
                yield document.mistake(path, found, allowed)
            else:
                allow = _allowed(key, kind, is_declared=key in declared)
                yield from _value_mistakes(document, path, kind, value, points, allow)


def _allowed(name: str, kind: str | None, *, is_declared: bool) -> Callable[[Any], Any]:
    convert = RUN_CONVERTERS[kind] if kind is not None else plain
    if is_declared or name not in RUN_LIMITS:
        return convert
    limit = RUN_LIMITS[name]
    return lambda value: limit(convert(value))


def _value_mistakes(
    document: Document,
    path: KeyPath,
    kind: str | None,
    value: Any,
    points: list[Any] | None,
    convert: Callable[[Any], Any],
) -> Iterator[Mistake]:
    along: Iterable[tuple[KeyPath, Any]] = [(path, value)]
    if points is not None:
        along = [((*path, i), point) for i, point in enumerate(points)]
    for place, point in along:
        if point is None:
            continue
        try:
            convert(point)
        except Refused as refused:
            found = shown(refused.value if refused.at else point)
            where = (*place, *refused.at)
            of_kind = "" if kind is None else f" ({kind})"
            allowed = f"expected {refused.expected}{of_kind}"
            yield document.mistake(where, f"found {found}", allowed)


def _declared_type(declared: Any) -> str | None:
    kind = declared.get("type") if isinstance(declared, Mapping) else declared
    return kind if isinstance(kind, str) and kind in TYPES else None


def _odd_keys(document: Document, path: KeyPath, keys: Iterable[Any]) -> Iterator[Mistake]:
    for key in keys:
        if isinstance(key, bool):
            yield _read_as_bool(document, path, key)
        elif not isinstance(key, str):
            found = f"found the key {_quoted(key)}"
            yield document.mistake((*path, key), found, "expected text: put it in quotes")


def _read_as_bool(document: Document, path: KeyPath, key: bool) -> Mistake:
    words = "on, yes or true" if key else "off, no or false"
    found = f"found {words} without quotes, which YAML reads as {str(key).lower()}"
    return document.mistake((*path, key), found, "expected text: put the key in quotes")


def _clashing_names(document: Document, section: str) -> Iterator[Mistake]:
    first: dict[str, str] = {}
    for name in document.section(section):
        if not isinstance(name, str):
            if section not in ("job", "run"):
                yield from _odd_keys(document, (section,), [name])
            continue
        other = first.setdefault(name.lower(), name)
        if other != name:
            found = f"is the same name as {other!r} on line {document.line((section, other))}"
            yield document.mistake((section, name), found, "expected names that differ")


def _options_mistakes(document: Document) -> Iterator[Mistake]:
    for key, value in document.data.items():
        if isinstance(key, str) and is_options_key(key):
            try:
                texts(value)
            except Refused as refused:
                found = f"found {shown(refused.value if refused.at else value)}"
                path = (key, *refused.at)
                yield document.mistake(path, found, f"expected {refused.expected}")


def workflow_warnings(document: Document) -> Iterator[Mistake]:
    """Keys that nobody knows, task managers that hide behind an attribute."""
    yield from _unknown_keys(document, (), document.data, WorkflowConfig.known_keys())
    yield from _idle_keys(document, WITHOUT_EFFECT)
    for name, settings in document.section("task_managers").items():
        path = ("task_managers", name)
        if isinstance(name, str) and (name in WORKFLOW_ATTRIBUTES or name.startswith("_")):
            found = f"workflow.{name} is something else"
            yield document.mistake(path, found, f"reach it as workflow.task_managers[{name!r}]")
        if isinstance(settings, Mapping):
            yield from _unknown_keys(document, path, settings, TaskManagerConfig.known_keys())


def study_warnings(document: Document) -> Iterator[Mistake]:
    """Keys that nobody knows."""
    yield from _unknown_keys(document, (), document.data, StudyConfig.known_keys())
    is_alone = is_study_alone(Path(document.file).absolute().parent)
    yield from _idle_keys(document, WITHOUT_EFFECT if is_alone else WITHOUT_EFFECT_IN_STUDY)
    params = {str(name).lower() for name in document.section("run_params")}
    for name in document.section("run_space"):
        if str(name).lower() in params:
            found = "is in run_params too"
            yield document.mistake(("run_space", name), found, "its value there is taken")
    yield from _hidden_names(document)
    for section in ("job", "run"):
        for name, declared in document.section(section).items():
            if isinstance(declared, Mapping):
                known = FieldConfig.known_keys()
                yield from _unknown_keys(document, (section, name), declared, known)


def _hidden_names(document: Document) -> Iterator[Mistake]:
    """Entries of a job or a run that are no attributes of it."""
    told = set()
    for section in ("job", "run", "run_params", "run_space"):
        record = "job" if section == "job" else "run"
        hiding = JOB_ATTRIBUTES if section == "job" else RUN_ATTRIBUTES
        for name in document.section(section):
            entry = str(name).lower()
            if entry in hiding and entry not in BUILT_IN and (record, entry) not in told:
                told.add((record, entry))
                found = f"{record}.{entry} is something else"
                allowed = f"reach it as {record}[{entry!r}]"
                yield document.mistake((section, name), found, allowed)


def _unknown_keys(
    document: Document, path: KeyPath, section: Mapping[Any, Any], known: tuple[str, ...]
) -> Iterator[Mistake]:
    for key in section:
        if not isinstance(key, str) or key in known or (is_options_key(key) and not path):
            continue
        meant = nearest(key, known).removeprefix("; ")
        allowed = _place_of(key) or meant or "it is passed on to orchestrators"
        yield document.mistake((*path, key), "unknown key", allowed)


def _place_of(key: str) -> str:
    """Where a key belongs that is not known where it was found."""
    of_study = key in StudyConfig.known_keys()
    of_workflow = key in WorkflowConfig.known_keys()
    if of_study and of_workflow:
        return "put it into the study's bd.yaml or, for all studies, beside task_managers"
    if is_options_key(key):
        return "put it beside task_managers, or into the study's bd.yaml"
    if of_study:
        return "put it into the study's bd.yaml"
    return "put it into motoko.yaml, beside task_managers" if of_workflow else ""


def _idle_keys(document: Document, without_effect: Collection[str]) -> Iterator[Mistake]:
    """Keys that are known, and change nothing."""
    for key, value in document.data.items():
        if not isinstance(key, str) or value is None:
            continue
        if key in without_effect:
            yield document.mistake((key,), "has no effect in this version", "leave it out")
        elif is_options_key(key) and key.removesuffix(OPTIONS_SUFFIX) not in GENERATORS:
            name = key.removesuffix(OPTIONS_SUFFIX)
            found = f"no generator {name!r} comes with Motoko{nearest(name, GENERATORS)}"
            allowed = f"known are {listed(GENERATORS)}, and those of other packages"
            yield document.mistake((key,), found, allowed)


def _is_attribute(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name) and not name.startswith("_")


def _quoted(name: Any) -> str:
    return repr(name) if isinstance(name, str) else str(name)
