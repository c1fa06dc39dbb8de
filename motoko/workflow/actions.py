"""Actions and the conditions they are registered with."""

from __future__ import annotations

import inspect
import itertools
import operator
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CellType
from typing import TYPE_CHECKING, Any

from motoko.errors import ConditionError, WorkflowError

if TYPE_CHECKING:
    from motoko.store.firing import Firing

EventCallback = Callable[..., Any]
EventCondition = Callable[..., Any] | str | list[str] | None

ALL_TASKS = "__all__"
ERROR_HANDLER = "error_handler"


def no_action(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


async def _no_excuse(error: Exception, firing: Firing) -> bool:
    """What an action raises ends the workflow."""
    return False


def positional_names(f: Any) -> list[str] | None:
    """Names of the parameters that a caller must give by position, None for no function."""
    if not callable(f):
        return None
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name.lstrip("_") for p in parameters if p.kind in kinds and p.default is p.empty]


def condition_in_words(condition: Any) -> str:
    """A condition in a line: its text, or the name and the place of the function."""
    if not callable(condition):
        return condition if isinstance(condition, str) else ", ".join(condition)
    name = getattr(condition, "__qualname__", repr(condition)).rpartition("<locals>.")[2]
    code = getattr(inspect.unwrap(condition), "__code__", None)
    if code is None:
        return str(name)
    return f"{name} ({Path(code.co_filename).name}:{code.co_firstlineno})"


def is_run_filter(f: Any) -> bool:
    """Whether ``f`` is a condition on a run and its job."""
    return positional_names(f) == ["run", "job"]


def is_workflow_filter(f: Any) -> bool:
    """Whether ``f`` is a condition on the workflow and a task manager."""
    return positional_names(f) == ["workflow", "task_manager"]


def is_no_param_func(f: Any) -> bool:
    """Whether ``f`` is a condition on nothing that is passed to it."""
    return positional_names(f) == []


@dataclass(frozen=True)
class Action:
    """What is called, for which task manager, when."""

    event_name: str
    task: str
    condition: Any
    callback: EventCallback | None
    get_params: Any = None
    is_serial: bool = False
    is_once: bool = False
    #: With `is_once`: what it is called with, when that may be something else another time.
    call: str = ""
    #: An error handler: when it has run, the workflow ends with RunsFailed.
    is_error_handler: bool = False
    #: Told what the action raised in a firing; whether the workflow goes on all the same.
    excuse: Callable[[Exception, Firing], Awaitable[bool]] = _no_excuse
    #: Called when a firing is committed, and told whether it was void: nothing was called.
    on_end: Callable[[bool], object] = no_action

    @property
    def label(self) -> str:
        """How the action is named in messages."""
        return self.event_name if self.task == ALL_TASKS else f"{self.event_name}@{self.task}"

    @property
    def is_constraint(self) -> bool:
        """Whether the condition is text, to be asked of the database."""
        return isinstance(self.condition, str | list | tuple)

    @property
    def constraints(self) -> list[str] | None:
        """The constraints that the condition is made of; None for a function."""
        if not self.is_constraint:
            return None
        return [self.condition] if isinstance(self.condition, str) else list(self.condition)


@dataclass
class ActionRegistry(Mapping[tuple[str, str], Action]):
    """Actions by task and event name; the same two replace the earlier action."""

    _actions: dict[tuple[str, str], Action] = field(default_factory=dict)
    #: Those that were registered while the workflow was run.
    _of_run: set[tuple[str, str]] = field(default_factory=set)

    def add(self, action: Action, *, is_of_run: bool = False) -> None:
        """Take an action in; ``is_of_run`` one that the next run knows nothing of.

        Raises ConditionError if its condition has no documented form, and WorkflowError for
        anything else of it that could only fail later. The text of a constraint is looked at
        when it is evaluated.
        """
        _check(action)
        key = action.task, action.event_name
        self._actions[key] = action
        (self._of_run.add if is_of_run else self._of_run.discard)(key)

    def forget_run(self) -> None:
        """Forget what was registered while the workflow was run."""
        for key in self._of_run:
            self.remove(key)
        self._of_run.clear()

    def remove(self, key: tuple[str, str]) -> None:
        """Forget an action, if there is one; what of it is in flight goes on."""
        self._actions.pop(key, None)

    def named_apart(self, handler: Action) -> Action:
        """An error handler with a name that no other of its task has; with that of the one
        that it repeats, if it does."""
        names = (f"{ERROR_HANDLER}_{n}" for n in itertools.count(2))
        return next(
            replace(handler, event_name=name)
            for name in itertools.chain([ERROR_HANDLER], names)
            if (known := self._actions.get((handler.task, name))) is None
            or _is_repeated(known, handler)
        )

    def named(self, event_name: str) -> list[Action]:
        """The actions of this event name, of all tasks."""
        return [a for a in self._actions.values() if a.event_name == event_name]

    def __getitem__(self, key: tuple[str, str]) -> Action:
        return self._actions[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(list(self._actions))

    def __len__(self) -> int:
        return len(self._actions)


def _is_repeated(known: Action, handler: Action) -> bool:
    return all(
        _is_same(getattr(known, name), getattr(handler, name))
        for name in ("condition", "callback", "get_params")
    )


def _is_same(one: Any, other: Any) -> bool:
    """Whether these are one, or functions that the same definition has made of the same."""
    if not (inspect.isfunction(one) and inspect.isfunction(other)):
        return bool(one == other)
    ours, theirs = _made_of(one), _made_of(other)
    return one.__code__ is other.__code__ and all(map(operator.is_, ours, theirs))


def _made_of(f: Any) -> list[Any]:
    given = [*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()]
    return given + [cell.cell_contents for cell in f.__closure__ or () if cell != CellType()]


_FORMS = (
    "a condition is a constraint, a list of constraints, or a function of (run, job), of"
    " (workflow, task_manager) or of nothing"
)


def _check(action: Action) -> None:
    if not isinstance(action.event_name, str) or not action.event_name.strip():
        raise WorkflowError(
            f"{action.event_name!r} is no name of an event: give it one of text"
        )
    if inspect.iscoroutine(action.callback):
        action.callback.close()
        raise WorkflowError(
            f"action {action.label!r}: f= is the call of a function; pass the function itself"
        )
    if not callable(action.callback):
        why = "is missing" if action.callback is None else f"is {action.callback!r}"
        raise WorkflowError(f"action {action.label!r}: f= {why}; pass a function")
    if action.get_params is not None and not callable(action.get_params):
        raise WorkflowError(
            f"action {action.label!r}: get_params={action.get_params!r} is no function; pass"
            " one of no parameters, which is called at the firing"
        )
    condition = action.condition
    if isinstance(condition, str):
        return
    if isinstance(condition, list | tuple) and all(isinstance(c, str) for c in condition):
        return
    if any(form(condition) for form in (is_run_filter, is_workflow_filter, is_no_param_func)):
        return
    names = positional_names(condition)
    if names is None:
        raise ConditionError(action.label, f"is {condition!r}; {_FORMS}")
    found = f"{condition_in_words(condition)} is a function of ({', '.join(names)})"
    raise ConditionError(action.label, f"{found}; {_FORMS}")


def accepted(f: EventCallback, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the offered keyword arguments that a function takes."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return dict(offered)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(offered)
    names = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    return {name: value for name, value in offered.items() if name in names}
