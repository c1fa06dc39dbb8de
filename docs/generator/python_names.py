"""The pages about names to import, from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import motoko
from docs.generator.markdown import code, page, prose
from motoko import task_manager, workflow
from motoko.job import record as job_record
from motoko.job import windows
from motoko.study import records, study

_CAMEL = re.compile(r"[a-z]+[A-Z]")


def workflow_api_page() -> str:
    """The page about what orchestrators use."""
    classes = [
        workflow.Workflow,
        workflow.WorkflowVars,
        task_manager.TaskManager,
        task_manager.RunList,
        task_manager.TaskSelection,
        task_manager.TaskSelectionEval,
        records.Run,
        records.Job,
    ]
    only = ("runs", "jobs", "run", "job", "counts", "run_dir")
    return page(
        "python-api.md",
        functions=items(event=workflow.event, no_action=workflow.no_action),
        records=prose(records),
        Study=items(**{n: m for n, m in _members(study.Study) if n in only}),
        **{kind.__name__: class_text(kind) for kind in classes},
    )


def job_side_page() -> str:
    """The page about what job scripts use."""
    return page(
        "job-side.md",
        functions=items(get_run=motoko.get_run, running=motoko.running),
        Run=class_text(job_record.Run),
        Job=class_text(job_record.Job),
        Window=class_text(windows.Window),
        Progress=prose(windows.Progress),
    )


def class_text(kind: type) -> str:
    """What a class is, how to make one if that is said, and its members."""
    members = dict(_members(kind))
    older = [name for name in members if _CAMEL.match(name) and name != "createTask"]
    constructor = vars(kind).get("__init__")
    if constructor is not None and constructor.__doc__:
        members = {kind.__name__: constructor, **members}
    parts = [prose(kind), items(**{n: m for n, m in members.items() if n not in older})]
    if older:
        parts.append(f"Older spellings: {', '.join(map(code, older))}.")
    return "\n\n".join(parts)


def items(**members: Any) -> str:
    """A list of functions, methods and properties with their docstrings."""
    return "\n\n".join(_member(name, member) for name, member in members.items())


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties with a docstring, those of the class itself first."""
    seen: set[str] = set()
    for owner in kind.__mro__:
        if not owner.__module__.startswith("motoko"):
            continue
        for name, member in vars(owner).items():
            plain = _plain(member)
            is_code = callable(plain) and inspect.getdoc(plain)
            if is_code and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, member if isinstance(member, property) else plain


def _plain(member: Any) -> Any:
    """The function behind a property, class method or static method."""
    if isinstance(member, property):
        return member.fget
    return member.__func__ if isinstance(member, classmethod | staticmethod) else member


def _member(name: str, member: Any) -> str:
    """A list item: how to call it, and its docstring below."""
    if isinstance(member, property):
        head, text = code(name), prose(member.fget)
    elif inspect.isclass(member):
        head, text = code(f"{name}{_signature(member.__init__)}"), prose(member)
    else:
        mark = "async " if inspect.iscoroutinefunction(member) else ""
        head, text = code(f"{mark}{name}{_signature(member)}"), prose(member)
    lines = [f"  {line}" if line else "" for line in text.splitlines()]
    return "\n".join([f"- {head}", "", *lines])


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    shown, is_keyword_only = [], False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword_only:
            is_keyword_only = True
            shown.append("*")
        shown.append(_parameter(parameter))
    returned = signature.return_annotation
    has_result = returned not in ("None", signature.empty) and function.__name__ != "__init__"
    return f"({', '.join(shown)})" + (f" -> {returned}" if has_result else "")


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    text = stars.get(parameter.kind, "") + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {parameter.annotation}"
    if parameter.default is not parameter.empty:
        value = parameter.default
        text += f" = {value.__name__ if inspect.isfunction(value) else repr(value)}"
    return text
