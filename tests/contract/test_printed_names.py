"""The documented public names exist, with the documented parameters in their order.

Further parameters may exist only as keyword-only ones; ``createTask`` has none, because its
keywords are job parameters.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import motoko
from motoko import task_manager
from motoko import workflow as workflow_module
from motoko.task_manager import RunList, TaskManager, TaskSelection, TaskSelectionEval
from motoko.workflow import Workflow, WorkflowVars, event, no_action
from tests.support.workflows import served_workflow

NONE = inspect.Parameter.empty
#: What is printed: owner, name, then parameters with their defaults; ``*``/``**`` as such.
PRINTED: list[tuple[Any, str, list[tuple[str, Any]], bool]] = [
    (workflow_module, "event", [("func", NONE)], False),
    (workflow_module, "no_action", [("*args", NONE), ("**kwargs", NONE)], False),
    (WorkflowVars, "__init__", [("db_fname", NONE)], False),
    (Workflow, "__init__", [("filename", NONE)], False),
    (Workflow, "create", [("validated", None)], False),
    (Workflow, "start_launcher_daemons", [("args", None)], False),
    (Workflow, "get_orchestrator_function", [], False),
    (
        Workflow,
        "add_action",
        [
            ("event_name", NONE),
            ("task", "__all__"),
            ("event", None),
            ("get_params", None),
            ("f", None),
        ],
        False,
    ),
    (
        Workflow,
        "add_error_handler",
        [("event", "state = FAILED"), ("f", no_action), ("**kwargs", NONE)],
        False,
    ),
    (Workflow, "is_run_filter", [("f", NONE)], False),
    (Workflow, "is_workflow_filter", [("f", NONE)], False),
    (Workflow, "is_no_param_func", [("f", NONE)], False),
    (
        Workflow,
        "fire_event",
        [
            ("event_name", NONE),
            ("task_manager_name", NONE),
            ("f", NONE),
            ("trigger", NONE),
            ("get_params", NONE),
            ("params", NONE),
        ],
        True,
    ),
    (Workflow, "check_events", [("**params", NONE)], True),
    (
        Workflow,
        "check_event",
        [("event_name", NONE), ("task_manager_name", "__all__"), ("**params", NONE)],
        True,
    ),
    (Workflow, "execute", [("**params", NONE)], False),
    (Workflow, "loop_check_events", [("**params", NONE)], True),
    (Workflow, "get_runs", [("run_list", NONE)], False),
    (Workflow, "is_empty", [], False),
    (RunList, "__init__", [("runs", NONE)], False),
    (TaskSelectionEval, "__init__", [("func", NONE)], False),
    (
        TaskSelection,
        "__init__",
        [("constraints", NONE), ("selector", NONE), ("base", NONE), ("study", NONE)],
        False,
    ),
    (TaskSelection, "exec", [], False),
    (TaskSelection, "all", [("*args", NONE)], False),
    (TaskManager, "__init__", [("workflow", NONE), ("study", NONE)], False),
    (TaskManager, "connect", [], False),
    (
        TaskManager,
        "createTask",
        [("run_params", None), ("commit", False), ("**kwargs", NONE)],
        False,
    ),
    (TaskManager, "select", [("constraints", None)], False),
]


@pytest.mark.parametrize(
    ("owner", "name", "expected", "is_async"),
    PRINTED,
    ids=[f"{getattr(owner, '__name__', owner)}.{name}" for owner, name, _, _ in PRINTED],
)
def test_a_documented_function_has_its_documented_parameters(
    owner: Any, name: str, expected: list[tuple[str, Any]], is_async: bool
) -> None:
    function = getattr(owner, name)
    parameters = list(inspect.signature(function).parameters.values())
    if inspect.isclass(owner):
        parameters = parameters[1:]
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    printed = [
        (stars.get(p.kind, "") + p.name, p.default)
        for p in parameters
        if p.kind is not inspect.Parameter.KEYWORD_ONLY
    ]

    assert printed == expected
    assert inspect.iscoroutinefunction(function) is is_async
    if name == "createTask":
        assert len(printed) == len(parameters)


def test_documented_attributes_and_properties_exist(tmp_path: Path) -> None:
    with served_workflow(tmp_path, "mult") as workflow:
        manager = workflow.mult
        selection = manager.select()
        expected: list[tuple[Any, str]] = [
            (
                workflow,
                "finished task_managers aliases orchestrator_script orchestrator_function"
                " actions run_name vars directory config config_path params",
            ),
            (workflow.vars, "db_fname db conn root"),
            (manager, "workflow study config selector base bd_config study_dir bd_dir"),
            (selection, "matching_condition constraints base selector study"),
            (RunList([]), "runs"),
            (TaskSelectionEval(lambda: True), "func"),
        ]
        for thing, names in expected:
            for name in names.split():
                assert hasattr(thing, name), f"{type(thing).__name__}.{name}"
        assert workflow.finished is False
        assert workflow.orchestrator_function is None
        assert manager.selector is None
        assert selection.matching_condition is None


def test_documented_module_attributes_exist() -> None:
    for name in ("EventCallback", "EventCondition", "ActionRegistry", "WorkflowVars"):
        assert hasattr(workflow_module, name)
    for name in ("RunList", "TaskSelectionEval", "TaskSelection", "TaskManager"):
        assert hasattr(task_manager, name)


def test_the_package_hands_on_its_public_names() -> None:
    assert motoko.Workflow is Workflow
    assert motoko.event is event
    assert set(motoko.__all__) <= set(dir(motoko))
    for name in motoko.__all__:
        assert getattr(motoko, name) is not None


def test_no_action_does_nothing() -> None:
    assert no_action(1, a=2) is None  # type: ignore[func-returns-value]
